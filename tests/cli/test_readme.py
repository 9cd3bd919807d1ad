"""Every command and every Python block of the README runs as it stands there; the first screen is short."""

from __future__ import annotations

import re

import pytest

from tests import pages

README = (pages.ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = pages.blocks(README)
FASIM = [words for block in BLOCKS if block.language == "console" for words in block.commands]
FIRST_SCREEN = 20


def test_there_are_commands():
    assert len(FASIM) >= 5
    lines = [line for block in BLOCKS if block.language == "console" for line in block.text.splitlines()]
    others = {line.split("#")[0].strip() for line in lines if not line.startswith("fasim ")}
    assert others == {"make demo", "make test"}


@pytest.mark.parametrize("words", FASIM, ids=" ".join)
def test_command(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.type_in(words)


def test_the_python_block_ends_in_printed_numbers(capsys):
    (block,) = (block for block in BLOCKS if block.language == "python")
    assert len(block.text.splitlines()) <= 10
    exec(compile(block.text, "README.md", "exec"), {})
    bp, dfa = re.findall(r"^(\w+): (\d+\.\d) % on s8, (\d\.\d\d) of bp's energy$", capsys.readouterr().out, re.MULTILINE)
    assert (bp[0], dfa[0], float(bp[2])) == ("bp", "dfa", 1)
    assert min(float(bp[1]), float(dfa[1])) > 80


def test_the_first_screen_is_a_sentence_a_picture_and_two_commands():
    top = "\n".join(README.splitlines()[:FIRST_SCREEN])
    assert top.index("**Which") < top.index("![") < top.index("make demo") < top.index("make test")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (pages.ROOT / target).exists(), target
    for target, section in re.findall(r"\]\(([^)#]+)#([^)]+)\)", README):
        headings = re.findall(r"^#+ (.+)$", (pages.ROOT / target).read_text(encoding="utf-8"), re.MULTILINE)
        assert section in {re.sub(r"[^\w\s-]", "", heading).lower().replace(" ", "-") for heading in headings}
