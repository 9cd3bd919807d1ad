"""Options from files and ``--set``: what comes first, what is refused, and that a saved configuration repeats its run."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from fasim import cli_config
from fasim.cli import COMMANDS, command
from tests.small_experiment import SMALL

SMALL_RUN = 'net = "64-12-10"\nepochs = 2\n'


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def written(text, name="mine.toml"):
    Path(name).write_text(text)
    return name


def taken(name, *arguments):
    """Return what a command has after it has read its arguments."""
    with command.commands[name].make_context(name, list(arguments)) as context:
        return context.params


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_every_option_from_a_file(name):
    """Each is given another value than its default, by a file, by --set, and by both."""
    itself = command.commands[name].load()
    parameters = cli_config.parameters(itself)
    of_file, of_set, expected = [], [], {}
    for number, (key, parameter) in enumerate(parameters.items()):
        flag, whole = isinstance(parameter.type, click.types.BoolParamType), parameter.type.name.startswith("integer")
        value = True if flag else 7 + number if whole or parameter.type.name == "float" else f"text {number}"
        expected[parameter.name] = value
        of_file.append(f"{key} = {json.dumps(value)}")
        of_set += ["--set", f"{key}={json.dumps(value).strip(chr(34))}"]
    path = written("\n".join([f'command = "{name}"', *of_file]))
    assert taken(name, "--config", path) == expected
    assert taken(name, *of_set) == expected
    # the key is what stands in --help
    shown = itself.get_help(click.Context(itself, info_name=name)).replace("-", "_").lower()
    assert not [key for key in parameters if key not in shown]


def test_the_command_line_comes_before_set_and_set_before_the_file():
    path = written("epochs = 3\nbatch_size = 8\nseed = 1\nlr = 0.5\n")
    order = ("--set", "batch-size=9", "--seed", "4", "--set", "seed=2", "--config", path, "--set", "batch_size=10")
    found = taken("train", *order)
    assert [found[key] for key in ("epochs", "batch_size", "seed", "lr", "rule")] == [3, 10, 4, "0.5", "dfa"]
    assert taken("train", *reversed(("10", "--batch-size", path, "--config")))["batch_size"] == 10


def test_lists_stand_as_lists():
    path = written('rules = ["bp", "dfa"]\nseeds = [0, 3]\nlr = "dfa=1e-3,bp=2^-7"\n')
    found = taken("compare", "--config", path)
    assert (found["rules"], found["seeds"], found["lr"]) == ("bp,dfa", "0,3", "dfa=1e-3,bp=2^-7")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", ["unknown key 'epoch'", "did you mean 'epochs'"]),
        ("batch-sise = 3", ["did you mean 'batch_size'"]),
        ("config = 'a.toml'", ["unknown key 'config'"]),
        ("epochs = '3'", ["epochs = '3'", "a whole number"]),
        ("epochs = 3.5", ["a whole number"]),
        ("epochs = true", ["a whole number"]),
        ("dropout = 'half'", ["a number"]),
        ("checkpoint = 1", ["true or false"]),
        ("net = ['64-10', '64-12-10']", ["text"]),
        ("net = true", ["text"]),
        ("lr = 1979-05-27", ["text"]),
        ("[train]\nepochs = 3", ["unknown key 'train'"]),
        ("command = 'compare'", ["it is for `fasim compare`"]),
        ("command = 3", ["command = 3", "write text"]),
        ("files = ['a']", ["[files]"]),
        ("epochs = ", ["cannot be read as TOML"]),
        ("epochs = 3\nepochs = 4", ["cannot be read as TOML", "overwrite"]),
    ],
)
def test_what_a_file_may_not_say(text, words):
    line = refused("train", "--config", written(text))
    assert "mine.toml" in line
    assert not [word for word in words if word not in line], line
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs", ["write a key and its value"]),
        ("epoch=3", ["did you mean 'epochs'"]),
        ("epochs=many", ["not a valid integer"]),
        ("checkpoint=yes", ["true or false"]),
        ("set=a", ["unknown key 'set'"]),
    ],
)
def test_what_set_may_not_say(text, words):
    line = refused("train", "--set", text)
    assert not [word for word in words if word not in line], line


def test_a_list_of_names_has_no_commas_within():
    assert "list of names" in refused("compare", "--config", written('rules = ["bp,dfa", "fa"]'))


def test_a_file_that_is_not_there():
    assert "none.toml" in refused("train", "--config", "none.toml")


def arrays_of(folder):
    (path,) = Path(folder).glob("checkpoint-*.npz")
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files}


def test_a_saved_configuration_repeats_its_run_to_the_bit():
    own = np.random.default_rng(5)
    x, y = own.integers(0, 256, (60, 64)).astype(np.uint8), np.arange(60) % 3
    np.savez("own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    options = ["--data", "own.npz", "--datapath", "s8", "--rule", "drtp", "--batch-size", "7", "--feedback", "gaussian:0.5"]
    done("train", *options, "--set", "epochs=2", "--seed", "5", "--out", "first", "--checkpoint")
    Path("elsewhere").mkdir()
    content = json.loads(done("run", "first/config.toml", "--json", "--threads", "2"))
    assert content["run_folder"] != "first"
    assert arrays_of(content["run_folder"]) == arrays_of("first")
    first, again = (tomllib.loads(Path(one, "config.toml").read_text()) for one in ("first", content["run_folder"]))
    assert first.pop("threads") == 0
    assert again.pop("threads") == 2
    assert first == again
    assert (first["net"], first["data"]) == (content["net"], str(Path("own.npz").absolute()))

    np.savez("own.npz", x_train=255 - x, y_train=y, x_test=x, y_test=y)
    assert "own.npz is not what it was" in refused("run", "first/config.toml")


def test_a_comparison_is_repeated_to_the_bit():
    path = written('rules = ["bp", "dfa"]\ndatapaths = "s8"\nseeds = [1]\n' + SMALL_RUN)
    first = json.loads(done("compare", "--config", path, "--out", "first", "--json"))
    again = json.loads(done("run", "first/config.toml", "--json"))
    for content in (first, again):
        content.pop("run_folder")
        for row in content["rows"]:
            row.pop("train_samples_per_s")
    assert first == again
    saved = tomllib.loads(Path("first/config.toml").read_text())
    assert (saved["rules"], saved["seeds"], saved["lr"], saved["command"]) == (["bp", "dfa"], [1], 2**-7, "compare")


def test_a_resumed_run_saves_what_it_has_become():
    done("train", "--config", written(SMALL_RUN), "--out", "first", "--checkpoint")
    done("train", "--config", "first/config.toml", "--epochs", "3", "--resume", "first")
    saved = tomllib.loads(Path("first/config.toml").read_text())
    assert saved["epochs"] == 3
    assert "resume" not in saved
    # other settings than the run was started with are refused, and change nothing there
    refused("train", "--config", "first/config.toml", "--resume", "first", "--seed", "9")
    assert tomllib.loads(Path("first/config.toml").read_text()) == saved


def test_a_refused_run_leaves_no_configuration():
    refused("train", "--net", "64-12-10", "--lr", "3e9", "--datapath", "s8")
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('rule = "dfa"\n', ["neither a configuration", "nor an experiment"]),
        ('command = "trian"\n', ["unknown key 'trian'", "did you mean 'train'"]),
        ('command = "run"\nname = "mine.toml"\n', ["--config"]),
        ("rule = ", ["cannot be read as TOML"]),
        ('title = "x"\n', ["experiment mine.toml: key paper is missing"]),
    ],
)
def test_what_run_cannot_tell(text, words):
    line = refused("run", written(text))
    assert not [word for word in words if word not in line], line


def test_run_changes_nothing_of_a_configuration():
    line = refused("run", written('command = "train"\n' + SMALL_RUN), "--epochs", "5")
    assert "--epochs: mine.toml is a configuration" in line


def test_an_experiment_is_still_one():
    path = written(SMALL, "small.toml")
    # also from a configuration of `fasim run`, which may be given to it
    config = written(f'command = "run"\nname = "{path}"\ncase = "thin bp"\nseeds = 1\n', "config.toml")
    assert done("run", "--config", config, "--epochs", "1", "--json").count('"case"') == 1


def test_another_version_is_said():
    result = invoke("show", "--config", written('fasim = "0.0.1"\nnet = "64-12-10"\n'))
    assert result.exit_code == 0
    assert "made by fasim 0.0.1" in result.stderr


def test_export_counts_what_a_file_says_as_said():
    done("train", "--config", written(SMALL_RUN), "--out", "first", "--checkpoint")
    line = refused("export", "first", "--config", written('to = "npz"\nseed = 3\n'))
    assert "--seed: first says that already" in line
    done("export", "--config", written('to = "npz"\nrun = "first"\nout = "there"\n'))
    assert Path("there").is_dir()
