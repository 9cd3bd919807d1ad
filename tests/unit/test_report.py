"""What a person reads: columns that keep their names, notes under the table, units."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from fasim import StepSettings, compare, estimate, train
from fasim.report import comparison_table, kibibytes, picojoules, power_of_two, run_lines
from fasim.report_energy import energy_tables


@pytest.fixture(scope="module")
def comparison():
    arguments = {"rules": ["shallow", "dfa"], "datapaths": ["s8_stoch"], "epochs": 2, "seeds": [0]}
    return compare("digits", "64-24-24-10", learning_rate={"shallow": 2.0**-30, "dfa": 2.0**-6}, **arguments)


def printed(table, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table)
        return console.export_text()


def test_a_wide_table_has_every_column(comparison):
    text = printed(comparison_table(comparison, 200), 200)
    for name in ("rule", "datapath", "test accuracy %", "ratio to bp", "feedback", "wrapped", "samples/s"):
        assert name in text
    assert "…" not in text
    assert "more columns" not in text


def test_the_difference_to_the_first_rule_has_a_column_with_its_interval():
    two = compare("digits", "64-8-10", rules=["dfa", "bp"], datapaths=["float32"], epochs=1, seeds=[0, 1])
    table = comparison_table(two)
    texts = {column.header: list(column.cells) for column in table.columns}["difference to dfa"]
    found = {key: 100 * value for key, value in two.difference_to_first(two.rows[1]).items() if isinstance(value, float)}
    assert texts == ["-", f"{found['mean']:+.1f} ({found['low']:+.1f}..{found['high']:+.1f})"]
    assert "difference to dfa: mean over the seeds of both, with its 95 % interval" in table.caption
    alone = comparison_table(replace(two, rows=two.rows[:1]))
    assert not [column for column in alone.columns if "difference" in str(column.header)]
    assert "difference" not in alone.caption


@pytest.mark.parametrize("width", [80, 100, 130])
def test_a_narrow_table_keeps_its_names_and_says_what_is_missing(comparison, width):
    text = printed(comparison_table(comparison, width), width)
    assert "shallow" in text
    assert "s8_stoch" in text
    assert "…" not in text
    assert "samples/s" in text.split("more columns")[1]


def test_rows_no_better_than_guessing_are_named(comparison):
    text = " ".join(printed(comparison_table(comparison, 200), 200).split())
    assert "no better than guessing, try another --lr: shallow s8_stoch" in text
    assert "dfa s8_stoch" not in text


def test_rows_that_do_not_fit_are_marked():
    large = compare("digits", "64-600-600-10", rules=["dfa"], datapaths=["float32"], epochs=1, seeds=[0])
    text = printed(comparison_table(large), 200)
    assert "MiB *" in text
    assert "part of it in external memory" in " ".join(text.split())
    small = compare("digits", "64-8-10", rules=["dfa"], datapaths=["float32"], epochs=1, seeds=[0])
    assert "*" not in printed(comparison_table(small), 200)
    row = replace(large.rows[0], energy=replace(large.rows[0].energy, fits=False))
    text = printed(comparison_table(replace(large, rows=[row])), 200)
    assert "MiB !" in text
    assert "energy is too low" in " ".join(text.split())


def test_a_run_names_its_worst_cast():
    run = train("64-24-10", "digits", rule="drtp", datapath="s8", epochs=3)
    text = "\n".join(run_lines(run, estimate("64-24-10", "drtp", "s8"), "digits"))
    worst = max(run.trace.sites, key=lambda site: run.trace.sites[site].saturations / run.trace.sites[site].elements)
    assert f"most at {worst}" in text
    assert "energy per training sample" in text


def test_energy_tables_add_up():
    result = estimate("64-24-10", "dfa", "s8", settings=StepSettings(batch_size=4))
    assert sum(result.phase_pj_per_sample.values()) == pytest.approx(result.energy_pj_per_sample.typical)
    assert sum(result.class_pj_per_sample.values()) == pytest.approx(result.energy_pj_per_sample.typical)
    text = "".join(printed(table, 160) for table in energy_tables(result, "title"))
    for word in ("forward", "update", "MAC", "master", "feedback", "100.0 %", "sram", "layer"):
        assert word in text
    assert f"{result.operations_per_step['forward']['MAC']:,}" in text


def test_units():
    assert [picojoules(x) for x in (3.2, 320, 4600, 2.5e6, 7.4e8)] == ["3.2 pJ", "320 pJ", "4.6 nJ", "2.5 uJ", "740 uJ"]
    assert [kibibytes(x) for x in (0, 900, 2560, 5 * 2**20, 2**33)] == ["0 B", "900 B", "2.5 KiB", "5 MiB", "8 GiB"]
    assert [power_of_two(x) for x in (2.0**-7, 0.001)] == ["2^-7", "0.001"]
