"""`fasim energy --skip --densities`: the zeros of a run of the step that is priced, and of no other."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import fasim.fixedpoint
from fasim.cli import command

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "measured-zeros.md"


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


def estimated(net, rule, *more):
    result = invoke("energy", "--net", net, "--rule", rule, "--batch-size", "1", "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments):
    """The one line that a refusal says."""
    result = invoke("energy", "--net", "20-10-4", *arguments)
    assert result.exit_code == 2, result.output
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


RUN = ("--net", "64-20-10", "--hidden", "relu", "--batch-size", "32")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a traced run of each of two rules; relu leaves zeros."""
    folder = tmp_path_factory.mktemp("runs")
    for rule in ("dfa", "bp"):
        arguments = ("--data", "digits", "--epochs", "2", "--trace", "--rule", rule, *RUN, "--out", str(folder / rule))
        assert invoke("train", *arguments).exit_code == 0
    return folder


def shares(folder):
    """Share of numbers other than 0 in the last epoch, by tensor."""
    records = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    return {record["name"]: 1 - record["zero_fraction"] for record in records if record["epoch"] == 2}


def forward_macs(share):
    return round(1280 * share["act.0"]) + round(200 * share["act.1"])


def test_measured_densities_of_a_run(runs):
    """Products with zeros are not made, and each rule has those of a run of its own."""
    common = ("64-20-10", "dfa", "--hidden", "relu")
    dense = estimated(*common)
    skip = ("--skip", "acts", "--densities", str(runs / "dfa"))
    alone = estimated(*common, *skip, "--vs", "dfa")
    both = estimated(*common, *skip, "--densities-vs", str(runs / "bp"))
    share, of_bp = shares(runs / "dfa"), shares(runs / "bp")
    assert 0.2 < share["act.0"] < 0.8
    assert abs(share["act.1"] - of_bp["act.1"]) > 0.01, "two runs with the same zeros show little"
    assert dense["operations_per_step"]["forward"]["MAC"] == 1480
    assert alone["operations_per_step"]["forward"]["MAC"] == forward_macs(share)
    assert alone["energy_ratio_to_bp"] == {"low": 1.0, "typical": 1.0, "high": 1.0}
    assert both["energy_pj_per_sample"] == alone["energy_pj_per_sample"]
    bp = estimated("64-20-10", "bp", "--hidden", "relu", "--skip", "acts", "--densities", str(runs / "bp"))
    assert bp["operations_per_step"]["forward"]["MAC"] == forward_macs(of_bp)
    assert both["macs_per_sample_bp"] == bp["macs_per_sample"] != dense["macs_per_sample_bp"]
    ratio = both["energy_pj_per_sample"]["typical"] / bp["energy_pj_per_sample"]["typical"]
    assert both["energy_ratio_to_bp"]["typical"] == pytest.approx(ratio)


def test_the_picture_and_the_options_have_the_zeros_of_both(runs, monkeypatch):
    drawn = []
    monkeypatch.setattr("fasim.plots_energy.energy_bars", lambda estimates: drawn.extend(estimates) or b"")
    skip = ("--skip", "acts", "--densities", str(runs / "dfa"), "--densities-vs", str(runs / "bp"))
    result = invoke("energy", "--rule", "dfa", *RUN, *skip, "--plot", "bars.png")
    assert result.exit_code == 0, result.output
    assert [one.rule for one in drawn] == ["bp", "dfa"]
    for one in drawn:
        assert one.options.densities == pytest.approx(shares(runs / one.rule))
    tensors = [len(shares(runs / rule)) for rule in ("dfa", "bp")]
    assert "measured densities of {} tensors, of bp {}".format(*tensors) in result.stdout


def test_densities_belong_to_the_step_that_is_priced(runs):
    dfa, bp = str(runs / "dfa"), str(runs / "bp")
    skip = ("--hidden", "relu", "--skip", "acts", "--densities", dfa)
    alone = (*skip, "--vs", "dfa")
    fits = ("--net", "64-20-10", *alone)
    cases = {
        (
            "--net",
            "64-30-10",
            *alone,
        ): f"--densities {dfa}: net of that run is 64-20-10, of the step that is priced 64-30-10",
        (*fits, "--hidden", "tanh"): "hidden of that run is relu, of the step that is priced tanh",
        (*fits, "--rule", "fa", "--vs", "fa"): "rule of that run is dfa, of the step that is priced fa",
        (*fits, "--datapath", "s8"): "datapath of that run is float32, of the step that is priced s8",
        (*fits, "--feedback", "uniform+k:1"): "feedback of that run is uniform, of the step that is priced uniform+k:1",
        (*fits, "--dropout", "0.5"): "dropout of that run is 0.0, of the step that is priced 0.5",
        ("--net", "64-20-10", *skip): "are zeros of dfa, and those of bp are others; give --densities-vs with a run of bp",
        ("--net", "64-20-10", *skip, "--densities-vs", dfa): f"--densities-vs {dfa}: rule of that run is dfa, of the step",
        ("--densities-vs", bp): f"--densities-vs {bp} is for --densities; give that too, or leave it out",
        ("--skip", "acts"): "--skip acts skips nothing where no zeros are known; give --densities",
    }
    for options, needed in cases.items():
        assert needed in refused(*options)


@pytest.mark.parametrize(
    ("file", "content", "needed"),
    [
        ("summary.json", None, "no summary.json is there; give the folder of a run of `fasim train --trace`"),
        ("summary.json", "{}", "trace.jsonl or summary.json is damaged ('net'); train that run again"),
        ("summary.json", "[]", "is damaged"),
        ("summary.json", "{", "is damaged"),
        ("trace.jsonl", None, "no trace.jsonl is there; give the folder of a run"),
        ("trace.jsonl", "", "is damaged"),
        ("trace.jsonl", '{"epoch": 1}\n', "is damaged ('name')"),
        ("trace.jsonl", "{\n", "damaged"),
    ],
)
def test_a_damaged_run_is_one_line(runs, tmp_path, file, content, needed):
    shutil.copytree(runs / "dfa", tmp_path / "run")
    (tmp_path / "run" / file).unlink()
    if content is not None:
        (tmp_path / "run" / file).write_text(content)
    options = ("--net", "64-20-10", "--hidden", "relu", "--vs", "dfa", "--skip", "acts", "--densities", "run")
    assert needed in refused(*options)


def test_commands_and_refusals_of_the_page():
    """The page's commands run, in order, and its last one is refused as the page says with other options."""
    text = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        program, *arguments = line.split()
        assert program == "fasim"
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
    step = arguments[: arguments.index("--skip")]
    rows = re.findall(r"^\| `(--.+?)` \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for options, said in rows:
        result = invoke(*step, *options.split())
        assert (result.exit_code, result.stderr) == (2, f"fasim: {said}\n")


def test_a_datapath_of_the_same_name_and_other_formats_is_another(tmp_path):
    """A copy of s8 whose name was left as it was."""
    text = (Path(fasim.fixedpoint.__file__).parent / "datapaths" / "s8.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('format = "s10.6"', 'format = "s8.4"', 1), encoding="utf-8")
    common = ("--net", "64-12-10", "--rule", "dfa")
    run = invoke("train", *common, "--datapath", "mine.toml", "--epochs", "1", "--trace", "--out", "mine")
    assert run.exit_code == 0, run.output
    zeros = ("--skip", "acts", "--densities", "mine", "--vs", "dfa")
    assert invoke("energy", *common, "--datapath", "mine.toml", *zeros).exit_code == 0
    refused = invoke("energy", *common, "--datapath", "s8", *zeros)
    assert refused.exit_code == 2
    assert "datapath has the name s8 too, and other contents" in refused.stderr
    assert refused.stderr.count("\n") == 1
