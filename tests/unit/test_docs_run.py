"""The pages do what they say: blocks run in order in one folder and one namespace, and print what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ALL = sorted(page for page in DOCS.rglob("*.md") if "gallery" not in page.parts)
FOLDERS, SINGLE = ("how-to", "explanation"), ("tutorial.md", "command-line.md", "file-formats.md")
RUN = [page for page in ALL if page.parent.name in FOLDERS or page.name in SINGLE]
# whose commands run elsewhere, or for hours
COMMANDS_ELSEWHERE = {
    "add-a-processor.md": "tests/unit/test_processor_files.py",
    "measured-zeros.md": "tests/cli/test_cli_zeros.py",
    "energy-to-accuracy.md": "tests/cli/test_cli_target.py, on a small network",
    "sweeps.md": "tests/cli/test_cli_sweep.py, on smaller grids",
    "papers-experiments.md": "days; tests/cli/test_cli_run.py, scaled down",
}


def name_of(page):
    return page.relative_to(DOCS).as_posix()


def test_there_are_pages():
    assert DOCS / "how-to" / "add-a-rule.md" in RUN
    assert set(COMMANDS_ELSEWHERE) <= {page.name for page in RUN}


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_blocks(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = pages.blocks(text)
    opened = len(blocks) + sum(bool(block.shown) for block in blocks) + text.count("\n```{")
    assert 2 * opened == text.count("\n```"), "a block is not read: it lacks a language, or is none that runs"
    names = {"__name__": page.stem}
    for block in blocks:
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            exec(compile(block.text, page.name, "exec"), names)
            assert capsys.readouterr().out == block.shown, f"{page.name} shows another output of\n{block.text}"
        if block.language == "console" and page.name not in COMMANDS_ELSEWHERE:
            for words in block.commands:
                pages.type_in(words)
    for name, value in names.items():
        if name.startswith("test_"):
            value()


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_reached_from_the_start():
    start = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#\s:]+)\)", start)}
    assert [name_of(page) for page in ALL if page.name != "index.md" and page not in linked] == []
