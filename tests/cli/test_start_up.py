"""What a process imports before it does its work: what is not imported takes no time."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.shell_completion import ShellComplete

from fasim.cli import COMMANDS, command

HEAVY = ("numba", "numpy", "scipy", "sklearn", "matplotlib", "rich", "pooch", "PIL")


def modules_of(*arguments, cwd=None):
    """Run a command in a process of its own, and return what it has imported."""
    code = "import json, sys\nfrom fasim.cli import command\ntry:\n    command(sys.argv[1:])\n"
    code += "finally:\n    print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_fasim_imports_no_array_library():
    code = f"import fasim, sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_list_of_commands_imports_none_of_them():
    found = modules_of("--help")
    assert found & set(HEAVY) == set()
    assert {name for name in found if name.startswith("fasim")} == {
        "fasim",
        "fasim.cli",
        "fasim.cli_groups",
        "fasim.errors",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_its_options_alone(name):
    found = modules_of(name, "--help")
    assert found & set(HEAVY) == set()
    others = {place.partition(":")[0] for place, _ in COMMANDS.values()} - {COMMANDS[name][0].partition(":")[0]}
    assert found & others == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_a_command_says_of_itself(name):
    place, text = COMMANDS[name]
    module, _, attribute = place.partition(":")
    itself = getattr(import_module(module), attribute)
    assert (itself.name, itself.help) == (name, text)
    assert command.commands[name].load() is itself


def test_every_command_is_listed():
    with click.Context(command) as context:
        assert command.list_commands(context) == sorted(COMMANDS)
    listed = command.get_help(click.Context(command)).partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in listed if line.strip()] == sorted(COMMANDS)


def test_a_shell_completes_commands_and_their_options():
    shell = ShellComplete(command, {}, "fasim", "_FASIM_COMPLETE")
    assert [item.value for item in shell.get_completions([], "e")] == ["energy", "export"]
    assert [item.value for item in shell.get_completions(["train"], "--ep")] == ["--epochs"]


def test_a_run_on_digits_imports_no_scikit_learn(tmp_path):
    found = modules_of("train", "--net", "64-12-10", "--epochs", "1", "--datapath", "s8", "--json", cwd=tmp_path)
    assert "numba" in found
    assert found & {"sklearn", "pooch", "PIL.Image", "dask", "torch", "numba.cuda", "onnx"} <= {"PIL.Image"}
