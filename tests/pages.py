"""Pages of the documentation as what they tell a reader to do: files to save, Python to run, commands to type."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from fasim.cli import command

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\w+\.(?:py|toml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block, and the output that stands below it."""

    language: str
    text: str
    shown: str

    @property
    def file(self) -> str:
        """Name under which a reader saves the block: its first line is ``# my_rule.py``."""
        found = FILE.match(self.text)
        return found[1] if found else ""

    @property
    def commands(self) -> list[list[str]]:
        """What a reader types, word by word, without comments."""
        words = [shlex.split(line, comments=True) for line in self.text.splitlines()]
        return [line[1:] for line in words if line[:1] == ["fasim"]]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page in order."""
    return [Block(*found) for found in FENCE.findall(text)]


def saved(page: str, name: str, folder: Path) -> Path:
    """Save the one block of a page that is a file of that name."""
    (block,) = (one for one in blocks((ROOT / page).read_text(encoding="utf-8")) if one.file == name)
    path = folder / name
    path.write_text(block.text, encoding="utf-8")
    return path


def type_in(words: list[str]) -> str:
    """Run a command of fasim in the current folder; return what it prints."""
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, f"fasim {shlex.join(words)}\n{result.output}"
    assert result.stdout
    return result.stdout
