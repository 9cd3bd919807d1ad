"""Topologies, formats, feedback words, plans and TOML of anybody's: what they say is taken or refused in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import pytest

from fasim import cli_config, cli_read, config, feedback, learning_rates, rules, stopping
from fasim.cli import command
from fasim.data import parse_augmentation
from fasim.energy import load_processor
from fasim.experiments.document import read_experiment
from fasim.fixedpoint import Cast, Fixed, load_datapath
from fasim.fixedpoint.accumulator import Acc
from fasim.fixedpoint.options import Dynamic
from fasim.network import Network
from fasim.plan import Plan
from fasim.schedule import StepSettings
from fasim.target import from_texts
from fasim.tomlfiles import MAX_BYTES, TomlError, parse_toml, read_toml
from tests.hostile import QUICK, THOROUGH, as_toml, changed, changed_document, fuzz, refused_in_one_line
from tests.small_experiment import SMALL

PACKAGE = Path(config.__file__).parent
EXAMPLES = pytest.mark.parametrize("examples", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)])
TEXTS = {
    "network": (Network.parse, ["784-500-10", "28x28x1-32c5-2p-1000-10", "8x8x1-8c3s2p1-2a-10"]),
    "format": (Fixed.parse, ["s8.6", "u8.8", "sym8.7", "ap_fixed<8,2>", "s16.-3"]),
    "cast": (Cast.parse, ["s8.6 RND SAT", "u8.8 TRN WRAP"]),
    "accumulator": (Acc.parse, ["exact", "20 SAT every_mac", "24 WRAP end"]),
    "exponents": (Dynamic.parse, ["keep nearest:1", "discard", "keep"]),
    "feedback": (
        feedback.parse,
        ["uniform:0.5", "crafton+k:1", "gaussian+rank:2+shared", "nokland+nm:2:4"],
    ),
    "rate": (learning_rates.parse, ["constant", "step:0.5:3", "exponential:0.9", "cosine:0.1"]),
    "stop": (stopping.parse, ["train_error:1e-4", ""]),
    "augment": (lambda text: parse_augmentation(text, (8, 8, 1)), ["flip", "crop:4", "flip+crop:4"]),
    "stages": (lambda text: Plan(stages=text), ["hidden:90,output:30,all:30"]),
    "clip": (lambda text: StepSettings(clip=text), ["value:1", "norm:0.5"]),
    "freeze": (lambda text: StepSettings(freeze=text), ["conv", "hidden", "1,2"]),
    "number": (cli_read.number, ["0.001", "2^-7", "1e-3"]),
    "rates": (lambda text: cli_read.rates(text, [rules.get("dfa")]), ["dfa=1.5e-4,fa=5e-4", "2^-7"]),
    "target": (lambda text: from_texts(text, None, None, False), ["0.95", "95%"]),
    "validation": (lambda text: from_texts("0.9", text, 10, True), ["0.1", "10%"]),
    "datapath name": (load_datapath, ["s8", "float32", "gupta16"]),
    "processor name": (load_processor, ["generic_45nm", "systolic_16x16"]),
}


@EXAMPLES
@pytest.mark.parametrize("what", TEXTS)
def test_texts(what, examples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parse, seeds = TEXTS[what]
    for seed in seeds:
        assert refused_in_one_line(parse, seed) == "", seed
    fuzz(examples, changed(seeds), lambda text: refused_in_one_line(parse, text))
    assert list(tmp_path.iterdir()) == []


def configure(path):
    """Read a configuration as `fasim train --config` does."""
    itself = command.commands["train"].load()
    cli_config.configure(click.Context(itself, info_name="train"), str(path), ())


CONFIGURATION = 'command = "train"\nrule = "dfa"\nepochs = 3\nlr = 0.5\ncheckpoint = true\n[files]\n"x.npz" = ""\n'
FILES = {
    "datapath": (
        load_datapath,
        [(PACKAGE / f"fixedpoint/datapaths/{one}.toml").read_text() for one in ("s8", "niti")],
    ),
    "processor": (
        load_processor,
        [(PACKAGE / "energy/processors" / f"{name}.toml").read_text() for name in ("generic_45nm", "mcu_pulp")],
    ),
    "experiment": (lambda path: read_experiment(Path(path)), [SMALL]),
    "configuration": (configure, [CONFIGURATION]),
}


@EXAMPLES
@pytest.mark.parametrize("what", FILES)
def test_toml_with_other_entries(what, examples, tmp_path):
    read, seeds = FILES[what]
    path = tmp_path / "mine.toml"

    def check(document):
        path.write_text(as_toml(document), encoding="utf-8")
        refused_in_one_line(read, str(path))

    documents = [tomllib.loads(text) for text in seeds]
    for document in documents:
        path.write_text(as_toml(document))
        assert refused_in_one_line(read, str(path)) == ""
    fuzz(examples, changed_document(documents), check)
    assert list(tmp_path.iterdir()) == [path]


@EXAMPLES
@pytest.mark.parametrize("what", FILES)
def test_toml_with_other_bytes(what, examples, tmp_path):
    read, seeds = FILES[what]
    path = tmp_path / "mine.toml"

    def check(content):
        path.write_bytes(content)
        refused_in_one_line(read, str(path))

    fuzz(examples, changed([seed.encode() for seed in seeds]), check)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 3000,
        "a = " + "[" * 50 + "]" * 50,
        ".".join("a" * 60) + " = 1",
        "a = " + "{b = " * 2000,
        "a = 1" + "0" * 5000,
        "a = 1979-99-99",
        "a" * 5000 + " = 1",
        "x = 1\n" * 60000,
    ],
    ids=["deep list", "nested list", "long key", "deep table", "long number", "no date", "long line", "long file"],
)
def test_toml_that_would_flood_or_hang(text):
    with pytest.raises(TomlError) as error:
        parse_toml(text)
    assert "\n" not in str(error.value)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path):
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(TomlError, match=f"more than {MAX_BYTES} bytes"):
        read_toml(Path("/dev/zero"))
