"""`fasim energy`: the golden table of six nets, every breakdown, files, and refusals in one line."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner

from fasim.cli import command
from tests.counting import GOLDEN

PNG = b"\x89PNG"


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


def estimated(net, rule, *more):
    result = invoke("energy", "--net", net, "--rule", rule, "--batch-size", "1", "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("net", GOLDEN["nets"], ids=lambda net: net["network"])
def test_golden_table_of_six_nets(net):
    """Weights, F, E, BP, DFA and its saving, DRTP, feedback before and after pooling, stored activations: to the digit."""
    found = {rule: estimated(net["network"], rule) for rule in ("bp", "dfa", "drtp")}
    bp, dfa, drtp = found.values()
    assert bp["weights"] == net["weights"]
    assert bp["operations_per_step"]["forward"]["MAC"] == net["forward"]
    assert bp["operations_per_step"]["error"]["MAC"] == net["error"]
    assert {rule: content["macs_per_sample"] for rule, content in found.items()} == {
        rule: net[rule] for rule in ("bp", "dfa", "drtp")
    }
    assert dfa["macs_per_sample_bp"] == net["bp"]
    assert dfa["feedback_entries"] == net["feedback"]
    post_pool = estimated(net["network"], "dfa", "--hook", "post_pool")
    assert post_pool["feedback_entries"] == net["feedback_post_pool"]
    assert bp["peak_activation_elements"] == dfa["peak_activation_elements"] == net["act_bp"]
    assert drtp["peak_activation_elements"] == net["act_drtp"]


@pytest.mark.parametrize(
    ("net", "rule", "feedback", "saved"),
    [
        ("784-500-500-10", "dfa", "uniform", "15.8"),
        ("784-1000-1000-10", "dfa", "uniform", "21.5"),
        ("784-1000-1000-10", "drtp", "uniform", "22.0"),
        ("28x28x1-32c5-2p-1000-10", "dfa", "uniform", "30.0"),
        ("32x32x3-64c3-2p-256c3-2p-1000-1000-10", "drtp", "uniform", "32.6"),
        ("784-1000-1000-10", "dfa", "crafton+k:1", "21.9"),
    ],
)
def test_saving_is_printed(net, rule, feedback, saved):
    result = invoke("energy", "--net", net, "--rule", rule, "--batch-size", "1", "--feedback", feedback)
    assert f"{rule} saves {saved} %" in result.output


def test_tables_by_phase_layer_class_memory_and_time():
    result = invoke("energy", "--net", "784-500-10", "--rule", "dfa", "--batch-size", "1", "--processor", "systolic_16x16")
    assert result.exit_code == 0, result.output
    for title in ("operations of one step", "by layer", "by tensor class and memory", "memories", "time of one step"):
        assert title in result.output
    assert "parallel: as the dependencies allow" in result.output


def test_a_processor_without_energies_has_a_time():
    result = invoke("energy", "--net", "64-100-10", "--rule", "dfa", "--processor", "mcu_pulp")
    assert result.exit_code == 0, result.output
    assert "parallel: as the dependencies allow" in result.output
    assert "energy: processor mcu_pulp cannot price this step: it has no number for" in result.output
    refused = invoke("energy", "--net", "64-100-10", "--rule", "dfa", "--processor", "spoon")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1


def test_every_option_is_printed_with_its_default_and_every_source():
    result = invoke(
        "energy", "--net", "20-10-4", "--rule", "bp", "--transpose", "duplicate", "--fuse", "deferred", "--dram", "ddr3"
    )
    line = next(line for line in result.output.splitlines() if line.startswith("options:"))
    for part in (
        "padding count",
        "transpose duplicate (default free)",
        "gradients in_place",
        "skip none",
        "order eager",
        "fuse deferred (default none)",
        "dram ddr3 (default lpddr4)",
    ):
        assert part in line
    assert "int_mul_bit2: " in result.output
    assert "[published]" in result.output


def test_another_size_of_sram():
    result = invoke("energy", "--net", "784-100-10", "--datapath", "s8", "--sram", "64KiB")
    assert result.exit_code == 0, result.output
    assert "sram 64 KiB (default the processor's)" in result.output
    assert "times the root of 65536 bytes for 1048576" in result.output


def test_versus_another_rule():
    result = invoke("energy", "--net", "20-10x8-4", "--rule", "dfa", "--vs", "fa", "--batch-size", "1")
    assert "ratio to fa: " in result.output
    own = estimated("20-10x8-4", "dfa", "--vs", "dfa")
    assert own["energy_ratio_to_bp"] == {"low": 1.0, "typical": 1.0, "high": 1.0}


def test_files(tmp_path):
    names = {"--csv": "lines.csv", "--plot": "bars.png", "--scalesim": "topology.csv", "--zigzag": "workload.yaml"}
    options = [text for pair in names.items() for text in pair]
    result = invoke("energy", "--net", "20-10x8-4", "--rule", "dfa", "--batch-size", "2", *options)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "lines.csv").read_text())))
    content = estimated("20-10x8-4", "dfa", "--batch-size", "2")
    total = sum(float(row["typical_pj"]) for row in rows)
    assert total == pytest.approx(content["energy_pj_per_sample"]["typical"])
    assert {row["phase"] for row in rows} == {"forward", "error", "gradient", "update"}
    assert (tmp_path / "bars.png").read_bytes().startswith(PNG)
    assert (tmp_path / "topology.csv").read_text().count("\n") > 8
    assert "operator_type" in (tmp_path / "workload.yaml").read_text()


def test_measured_densities_of_a_run(tmp_path):
    """relu leaves zeros; products with them are not made."""
    common = ("--net", "64-20-10", "--hidden", "relu", "--batch-size", "32")
    run = invoke("train", "--data", "digits", "--epochs", "1", "--trace", "--rule", "dfa", *common, "--out", "run")
    assert run.exit_code == 0, run.output
    dense = estimated("64-20-10", "dfa", "--hidden", "relu")
    skipped = estimated("64-20-10", "dfa", "--hidden", "relu", "--skip", "acts", "--densities", "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "trace.jsonl").read_text().splitlines()]
    share = {record["name"]: 1 - record["zero_fraction"] for record in records}
    assert 0.2 < share["act.0"] < 0.8
    expected = round(1280 * share["act.0"]) + round(200 * share["act.1"])
    assert dense["operations_per_step"]["forward"]["MAC"] == 1480
    assert skipped["operations_per_step"]["forward"]["MAC"] == expected


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--transpose", "fre"), "unknown transpose 'fre'"),
        (("--skip", "acts", "--densities", "nowhere"), "no trace.jsonl is there; give the folder of a run"),
        (("--dram", "lpddr9"), "did you mean 'lpddr4'"),
        (("--sram", "64kB"), "write a whole number of bytes, at least 1, such as 65536, 64KiB"),
        (("--sram", "0"), "write a whole number of bytes, at least 1"),
        (("--vs", "backprop"), "unknown rule 'backprop'"),
        (("--fuse", "defered"), "did you mean 'deferred'"),
        (("--csv", "no/such/folder/x.csv"), "x.csv"),
    ],
)
def test_wrong_options_are_one_line(options, needed):
    result = invoke("energy", "--net", "20-10-4", *options)
    assert result.exit_code == 2
    assert needed in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout
