"""`fasim energy`: the golden table of six nets, every breakdown, files, and refusals in one line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

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
    assert "at the ends of what is stated" in " ".join(result.output.split())
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


ALL_FILES = {"--csv": "lines.csv", "--plot": "bars.png", "--scalesim": "topology.csv", "--zigzag": "workload.yaml"}


def refused(*arguments):
    """The one line that a refusal says."""
    result = invoke("energy", "--net", "20-10-4", *arguments)
    assert result.exit_code == 2, result.output
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    return line


def test_no_two_files_have_one_name(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    for one, other in (("x.csv", "x.csv"), ("x.csv", "sub/../x.csv"), ("sub/x.csv", "link/x.csv")):
        line = refused("--csv", one, "--scalesim", other)
        assert line == f"fasim: --csv and --scalesim name the same file {other}; give each its own"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "sub"]


@pytest.mark.parametrize("option", ALL_FILES)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/such/x", "no/such/x: no such folder no/such; make it, or choose another"),
        ("file/x", "file/x: no such folder file; make it, or choose another"),
        ("folder", "folder: this is a folder; give the name of a file"),
        ("", "'': give the name of a file, or leave the option out"),
        (" ", "' ': give the name of a file, or leave the option out"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_anything_is_computed(option, name, said, tmp_path, monkeypatch):
    def computed(*_, **__):
        raise AssertionError("it was computed")

    monkeypatch.setattr("fasim.energy.estimate", computed)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    others = [text for flag, file in ALL_FILES.items() if flag != option for text in (flag, file)]
    assert refused(*others, option, name) == f"fasim: {option} {said}"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_file_that_fails_leaves_none_and_what_was_there(tmp_path):
    (tmp_path / "lines.csv").write_text("kept")
    longest = "x" * 255
    line = refused("--csv", "lines.csv", "--scalesim", "new.csv", "--zigzag", longest)
    assert line == f"fasim: cannot write {longest}: File name too long; none of the files is written"
    assert [path.name for path in tmp_path.iterdir()] == ["lines.csv"]
    assert (tmp_path / "lines.csv").read_text() == "kept"


def test_a_file_that_fails_at_the_very_end_takes_the_others_along(tmp_path, monkeypatch):
    replace = Path.replace

    def fails(path, target):
        if target.name == "workload.yaml":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fails)
    line = refused(*(text for pair in ALL_FILES.items() for text in pair))
    assert line == "fasim: cannot write workload.yaml: Input/output error; none of the files is written"
    assert list(tmp_path.iterdir()) == []


def test_a_processor_without_energies_writes_workloads_and_no_energies(tmp_path):
    common = ("energy", "--net", "64-100-10", "--rule", "dfa", "--processor", "mcu_pulp")
    for option in ("--csv", "--plot"):
        result = invoke(*common, option, "x", "--zigzag", "workload.yaml")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert f"{option}: processor mcu_pulp cannot price this step: it has no number for" in result.stderr
        assert result.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
    result = invoke(*common, "--scalesim", "topology.csv", "--zigzag", "workload.yaml")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("written: topology.csv\nwritten: workload.yaml\n")
    assert invoke(*common[:-2], "--scalesim", "other.csv", "--zigzag", "other.yaml").exit_code == 0
    assert (tmp_path / "topology.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()
    assert (tmp_path / "workload.yaml").read_bytes() == (tmp_path / "other.yaml").read_bytes()


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--transpose", "fre"), "unknown transpose 'fre'"),
        (("--dram", "lpddr9"), "did you mean 'lpddr4'"),
        (("--sram", "64kB"), "write a whole number of bytes, at least 1, such as 65536, 64KiB"),
        (("--sram", "0"), "write a whole number of bytes, at least 1"),
        (("--vs", "backprop"), "unknown rule 'backprop'"),
        (("--fuse", "defered"), "did you mean 'deferred'"),
    ],
)
def test_wrong_options_are_one_line(options, needed):
    result = invoke("energy", "--net", "20-10-4", *options)
    assert result.exit_code == 2
    assert needed in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout
