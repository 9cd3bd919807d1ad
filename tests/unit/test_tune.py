"""The search of ``fasim tune``: one budget for all, trials that cover the ranges, the best by the validation split."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import fmean

import pytest
from click.testing import CliRunner

from fasim.cli import command
from fasim.errors import ConfigError
from fasim.report_tune import commands, warnings
from fasim.sweep import SweepFolder, read_text
from fasim.sweep.point import resolve_all
from fasim.sweep.search import Search, best, best_document, sweep_of, trials

SMALL = {"net": "64-8-10", "epochs": 1, "validation": 0.2}
SEARCH = Search(("bp", "dfa"), ("float32",), SMALL, (0, 1), trials=8)
FIXED = replace(SEARCH, datapaths=("float32", "s8"))


def test_trials_cover_both_ranges_evenly_and_grow_from_those_that_are_there():
    for search, count in ((SEARCH, 8), (replace(SEARCH, trials=64), 64)):
        found = trials(search)
        for values, (low, high) in (
            ([one.rate for one in found], search.rates),
            ([one.scale for one in found], search.scales),
        ):
            shares = [math.log(value / low) / math.log(high / low) for value in values]
            assert min(shares) >= 0
            assert max(shares) <= 1
            halves = sum(share < 0.5 for share in shares)
            assert abs(halves - count / 2) <= 2
    assert trials(replace(SEARCH, trials=64))[:8] == trials(SEARCH)
    assert trials(replace(SEARCH, seed=1)) != trials(SEARCH)


def test_fixed_point_makes_the_rates_of_all_powers_of_two():
    rates = {one.rate for one in trials(replace(FIXED, trials=64))}
    assert {math.log2(rate) for rate in rates} == set(range(-11, -2))


def test_every_rule_and_datapath_has_the_same_trials_and_seeds():
    cases = sweep_of(FIXED).cases
    assert len(cases) == 2 * 2 * 8 * 2
    by_cell = {}
    for case in cases:
        by_cell.setdefault((case["rule"], case["datapath"]), []).append((case["learning_rate"], case["seed"]))
    assert len({tuple(runs) for runs in by_cell.values()}) == 1
    # bp has no feedback to scale
    assert all("feedback" not in case for case in cases if case["rule"] == "bp")
    scales = {case["feedback"] for case in cases if case["rule"] == "dfa"}
    assert scales == {f"uniform+scale:{one.scale!r}" for one in trials(FIXED)}
    assert read_text(sweep_of(FIXED).text).cases == cases
    assert len(resolve_all(cases, ())) <= len(cases)


def row(rate, seed, validation, test=0.5, rule="dfa", feedback="uniform", datapath="float32"):
    figures = {"validation_accuracy": validation, "test_accuracy": test}
    return {"rule": rule, "datapath": datapath, "learning_rate": rate, "feedback": feedback, "seed": seed} | figures


def test_the_best_has_the_highest_mean_on_the_validation_split_over_all_seeds():
    rows = [row(2**-6, 0, 0.875, 0.1), row(2**-6, 1, 0.75, 0.3), row(2**-5, 0, 0.75, 0.9), row(2**-5, 1, 0.8125, 0.9)]
    rows += [row(2**-9, 0, 0.99), row(2**-7, 0, 0.8125), row(2**-7, 1, 0.8125), row(2**-8, 0, 0.1), row(2**-8, 1, 0.1)]
    (found,) = best(SEARCH, rows)
    # 2^-9 lacks a seed; 2^-7 ties with 2^-6 and is smaller
    assert found.rate == 2**-7
    assert found.validation.mean == 0.8125
    assert found.trials == 4
    # the deviation of the best is 0, its interval a point that 2^-5 does not reach
    assert found.as_good == (2**-7, 2**-6)
    assert found.test.mean == fmean([0.5, 0.5])
    assert found.edges == ()
    assert [line.split(":")[1].strip() for line in warnings(SEARCH, [found])] == ["bp on float32"]


def test_a_best_at_the_end_of_a_range_is_warned_of():
    search = replace(SEARCH, rules=("dfa",))
    (low, high), (small, large) = search.rates, search.scales
    for rate, scale, edges in (
        (low, 1.0, ("learning rate",)),
        (high / 1.1, 1.0, ("learning rate",)),
        (2**-7, large, ("feedback scale",)),
        (high, small * 1.05, ("learning rate", "feedback scale")),
        (2**-7, 1.1, ()),
    ):
        text = "uniform" if scale == 1 else f"uniform+scale:{scale}"
        rows = [row(rate, seed, 0.9, feedback=text) for seed in (0, 1)]
        rows += [row(2**-8, seed, 0.1, feedback="uniform+scale:0.9") for seed in (0, 1)]
        (found,) = best(search, rows)
        assert found.edges == edges
        lines = warnings(search, [found])
        assert len(lines) == len(edges)
        assert all("lies on the edge of the range; widen --" in line for line in lines)


def test_what_was_found_is_a_sweep_and_a_comparison():
    rows = [row(2**-6, seed, 0.9, feedback="uniform+scale:1.5") for seed in (0, 1)]
    rows += [row(0.01, seed, 0.9, rule="bp") for seed in (0, 1)]
    found = best(SEARCH, rows)
    sweep = read_text(best_document(SEARCH, found))
    assert [(case["rule"], case["learning_rate"], case["feedback"], case["seed"]) for case in sweep.cases] == [
        ("bp", 0.01, "uniform", 0),
        ("bp", 0.01, "uniform", 1),
        ("dfa", 2**-6, "uniform+scale:1.5", 0),
        ("dfa", 2**-6, "uniform+scale:1.5", 1),
    ]
    assert all(case["net"] == "64-8-10" and "validation" not in case for case in sweep.cases)
    assert commands(SEARCH, found) == [
        "fasim compare --rules bp,dfa --datapaths float32 --lr bp=0.01,dfa=2^-6 --net 64-8-10 --epochs 1"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 1}, "at least 2"),
        ({"rates": (0.1, 0.01)}, "--lr-range 0.1..0.01"),
        ({"scales": (0.0, 1.0)}, "--scale-range 0..1"),
        ({"rules": ("bp", "bp")}, "each only once"),
        ({"datapaths": ("s8",), "rates": (0.3, 0.4)}, "none lies within"),
    ],
)
def test_a_search_that_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(SEARCH, **change)


def invoke(*arguments):
    quick = ["--net", "64-8-10", "--epochs", "1", "--seeds", "0,1", "--workers", "0"]
    return CliRunner().invoke(command, ["tune", *quick, *arguments], env={"COLUMNS": "160"})


def test_the_command_searches_goes_on_and_writes_a_sweep_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--rules", "bp,dfa", "--datapaths", "s8", "--out", "t", "--validation", "20%"]
    first = invoke(*arguments, "--trials", "3", "--json")
    assert first.exit_code == 0, first.output
    content = json.loads(first.stdout)
    rows = SweepFolder(tmp_path / "t").rows()
    for found in content["rows"]:
        own = [one for one in rows if one["rule"] == found["rule"]]
        means = {}
        for one in own:
            means.setdefault((one["learning_rate"], one["feedback"]), []).append(one["validation_accuracy"])
        highest = max(fmean(values) for values in means.values())
        assert found["validation_accuracy"]["mean"] == pytest.approx(highest)
        assert fmean(means[found["learning_rate"], found["feedback"]]) == pytest.approx(highest)
    more = invoke(*arguments, "--trials", "4")
    assert more.exit_code == 0
    assert f"{len(rows)} of" in more.stderr
    assert more.stderr.count(": done\n") == len(SweepFolder(tmp_path / "t").rows()) - len(rows) <= 4
    assert "compare, feedback not scaled: fasim compare --rules bp,dfa --datapaths s8 --lr bp=2^-" in more.stdout
    result = CliRunner().invoke(command, ["sweep", "t/report/best.toml", "--workers", "0", "--json"])
    assert result.exit_code == 0, result.output
    assert [row["rule"] for row in json.loads(result.stdout)["rows"]] == ["bp", "dfa"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lr-range", "0.1"), "write two numbers and .. between them"),
        (("--lr-range", "a..b"), "write a number such as 0.001"),
        (("--validation", "0"), "a search needs some samples"),
        (("--validation", "2"), "write a share from 0 to 1"),
        (("--rules", "bp,dfx"), "unknown rule 'dfx'"),
        (("--target", "input", "--net", "64-8-64"), "trained without labels"),
        (("--feedback", "b1", "--rules", "dfa"), "+scale needs a base without ones"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
