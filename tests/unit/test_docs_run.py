"""The Python blocks of the how-to and explanation pages run in order, in one namespace, and print what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = sorted(page for folder in ("how-to", "explanation") for page in (ROOT / "docs" / folder).glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


def test_there_are_pages():
    assert ROOT / "docs" / "how-to" / "add-a-rule.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python")
    names = {"__name__": page.stem}
    for code, shown in blocks:
        exec(compile(code, page.name, "exec"), names)
        printed = capsys.readouterr().out
        assert printed == shown, f"{page.name} shows another output of\n{code}"
    for name, value in names.items():
        if name.startswith("test_"):
            value()


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
