"""Every command and every Python block of the README runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasim.cli import command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [line for block in blocks("console") for line in block.splitlines()]
FASIM = [line for line in COMMANDS if line.startswith("fasim ")]


def test_there_are_commands():
    assert len(FASIM) >= 5
    assert {line.split("#")[0].strip() for line in COMMANDS} - set(FASIM) == {"make demo", "make test"}


@pytest.mark.parametrize("line", FASIM)
def test_command(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout


def test_python_blocks(capsys):
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["run"].test_accuracy > 0.8
    assert [row.rule for row in names["rows"]] == ["bp", "drtp"]
    assert (names["signal"] == 10).all()
    assert "Interval(" in capsys.readouterr().out


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
