"""A learning rule out of a file of one's own, wherever the command line asks for a rule; and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from fasim import rules
from fasim.cli import command
from fasim.errors import ConfigError

SOURCE = '''"""As dfa in every other layer, as fa in between."""
from fasim.rules import Rule


def signal(step, layer):
    if (step.last - layer) % 2:
        return step.project(step.output_signal(), step.feedback(layer), layer, direct=True)
    return step.project(step.delta(layer + 1), step.layered_feedback(layer), layer)


RULE = Rule("pairs", "feedback alignment in pairs", "a test", signal, place=100)
'''
NET = ("--net", "64-12-8-6-10")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.py").write_text(SOURCE)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


def printed(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_compare_takes_a_file_beside_names(folder):
    options = ("--rules", "dfa, pairs.py", "--datapaths", "float32,s8", "--seeds", "0", "--epochs", "1")
    printed("compare", *NET, *options, "--lr", "pairs=2^-6,2^-5", "--out", "out")
    with (folder / "out" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rule"], float(row["learning_rate"])) for row in rows] == [("dfa", 2**-5), ("pairs", 2**-6)] * 2
    assert (folder / "out" / "accuracy_energy.png").stat().st_size > 10_000


def test_a_target_is_drawn_for_a_rule_of_a_file(folder):
    target = ("--target-accuracy", "0.1", "--evaluate-every", "400")
    printed("compare", *NET, "--rules", "pairs.py", "--datapaths", "s8", "--seeds", "0", "--epochs", "1", *target)


def test_a_run_of_a_file_is_the_run_of_its_rule(folder):
    from fasim import train

    shown = printed("train", *NET, "--rule", "pairs.py", "--datapath", "s8", "--epochs", "1", "--json", "--out", "run")
    own = train("64-12-8-6-10", "digits", rule=rules.load("pairs.py"), datapath="s8", epochs=1)
    found = json.loads(shown)
    assert found["rule"] == "pairs"
    assert found["epochs"][0]["test_loss"] == own.test_loss
    assert (found["energy"]["rule"], found["energy"]["versus"]) == ("pairs", "bp")


def test_schedule_energy_and_calibration_take_a_file(folder):
    step = printed("show", *NET, "--rule", "pairs.py")
    assert "feedback.2" in step
    assert step.replace("pairs", "fa") != printed("show", *NET, "--rule", "fa")
    itself = json.loads(printed("energy", *NET, "--rule", "pairs.py", "--vs", "pairs.py", "--json"))
    assert (itself["rule"], itself["versus"], itself["energy_ratio_to_bp"]["typical"]) == ("pairs", "pairs", 1)
    printed("calibrate", *NET, "--rule", "pairs.py", "--out", "own.toml")
    assert "fasim calibrate: pairs on 64-12-8-6-10" in (folder / "own.toml").read_text()


def test_a_run_is_exported_and_resumed_with_its_file(folder):
    base = ("train", *NET, "--rule", "pairs.py", "--datapath", "s8")
    printed(*base, "--epochs", "2", "--checkpoint", "--out", "whole")
    printed(*base, "--epochs", "1", "--checkpoint", "--out", "half")
    printed(*base, "--epochs", "2", "--resume", "half")
    printed("export", "whole", "--to", "npz", "--rule", "pairs.py", "--out", "first")
    printed("export", "half", "--to", "npz", "--rule", "pairs.py", "--out", "second")
    with np.load(folder / "first" / "state.npz") as first, np.load(folder / "second" / "state.npz") as second:
        assert json.loads(first["about"].tobytes())["rule"] == "pairs"
        for name in first.files:
            assert (first[name] == second[name]).all(), name
    lacking = invoke("export", "half", "--to", "npz", "--out", "third")
    assert lacking.exit_code == 2
    assert "the run's rule pairs was a file; give it with --rule" in lacking.stderr
    other = invoke("export", "half", "--to", "npz", "--rule", "dfa", "--out", "third")
    assert other.exit_code == 2
    assert "has the rule pairs, not dfa" in other.stderr
    assert not (folder / "third").exists()


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (SOURCE.replace("RULE =", "OTHER ="), "it has no RULE; end it with RULE = Rule("),
        ("RULE = 3\n", "it has no RULE"),
        (SOURCE.replace('"pairs"', '"dfa"'), "dfa is the name of another rule; give the one in the file its own"),
        (SOURCE.replace("def signal(step, layer):", "def signal(step, layer)"), "line 5 is no Python: expected ':'"),
        (SOURCE.replace("import Rule", "import Rules"), "line 2: ImportError: cannot import name 'Rules'"),
        (SOURCE.replace("RULE = Rule(", "RULE = Rull("), "line 11: NameError: name 'Rull' is not defined"),
        (SOURCE.replace("place=100", 'place=100, direction="left"'), "unknown direction of rule pairs 'left'"),
    ],
)
def test_a_file_without_a_rule_is_refused_in_one_line(folder, source, line):
    (folder / "pairs.py").write_text(source)
    result = invoke("train", *NET, "--rule", "pairs.py", "--epochs", "1")
    assert result.exit_code == 2
    assert result.stderr.startswith("fasim: rule file pairs.py: ")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (folder / "runs").exists()


def test_a_missing_file_and_an_unknown_name_are_refused(folder):
    absent = invoke("train", "--rule", "pears.py")
    assert (absent.exit_code, absent.stderr.count("\n")) == (2, 1)
    assert "rule file pears.py: there is no such file" in absent.stderr
    unknown = invoke("train", "--rule", "dfaa")
    assert "unknown rule 'dfaa'" in unknown.stderr
    assert "did you mean 'dfa'?; or give the path of a .py file with a RULE" in unknown.stderr


def test_only_what_is_typed_runs_a_file(folder):
    (folder / "pairs.py").write_text("from pathlib import Path\nPath('has_run').touch()\n")
    with pytest.raises(ConfigError, match="unknown rule 'pairs.py'"):
        rules.get("pairs.py")
    (folder / "own.toml").write_text('name = "x"\nrule = "pairs.py"\n')
    assert invoke("run", "own.toml").exit_code == 2
    (folder / "run.toml").write_text('command = "train"\nrule = "pairs.py"\nepochs = 1\n')
    (folder / "any.toml").write_text('vs = "pairs.py"\n')
    energy = ("energy", "--net", "4-2", "--config", "any.toml")
    for words in (("run", "run.toml"), ("train", "--config", "run.toml"), energy):
        refused = invoke(*words)
        assert refused.exit_code == 2
        assert "it names the Python file pairs.py, which would run" in refused.stderr
    assert not (folder / "has_run").exists()
    for words in (("--rule", "pairs.py"), ("--set", "rule=pairs.py")):
        invoke("train", "--config", "run.toml", *words)
        (folder / "has_run").unlink()


BROKEN = {
    "NameError": ("def signal(step, layer):\n    return nothing\n", "line 3: NameError"),
    "arity": ("def signal(step):\n    return None\n", "TypeError"),
    "a number": ("def signal(step, layer):\n    return 5\n", "layer 1 gets 5; return what a method of step returned"),
    "too early": ("def signal(step, layer):\n    return step.delta(layer)\n", "line 3: KeyError"),
    "a stop": ("import sys\nsys.exit(3)\nsignal = None\n", "line 3: SystemExit: 3"),
    "lines": ("raise RuntimeError('a\\nb')\nsignal = None\n", "line 2: RuntimeError: a b"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_in_a_rule_is_one_line(name, tmp_path):
    body, message = BROKEN[name]
    path = tmp_path / "broken.py"
    path.write_text(f"from fasim.rules import Rule\n{body}RULE = Rule('mine', 'Mine', 'nobody', signal, 100)\n")
    result = CliRunner().invoke(command, ["energy", "--net", "4-3-2", "--rule", str(path)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
