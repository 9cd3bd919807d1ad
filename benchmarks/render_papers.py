"""Sections of ``docs/papers.md``, one an experiment, from ``benchmarks/results/papers.jsonl``; ``render.py`` writes them.

Published figures are those of ``fasim/experiments/*.toml``, measured ones those of the lines: none is typed here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from result_lines import done

from fasim.experiments import (
    Experiment,
    Row,
    load_experiment,
    measured_order,
    names,
    pairs_held,
    summary,
    verdict,
)
from fasim.experiments.experiment import DEVIATIONS, POINTS
from fasim.experiments.summary import NOT_REPRODUCED, REPRODUCED, SHORT, curve_of
from fasim.report_experiments import NOT_MEASURED, duration, epochs_of, heading, measured, run_time

RESULTS = Path(__file__).parent / "results" / "papers.jsonl"
# pictures that curves.py has drawn
CURVES = Path(__file__).parents[1] / "docs" / "curves"
# a curve of so many epochs fits into a cell
CURVE = 10

Line = dict[str, Any]


@cache
def lines() -> tuple[Line, ...]:
    """Return all lines."""
    return tuple(done(RESULTS).values())


def rows_of(name: str, variant: str = "") -> list[Row]:
    """Return the rows of an experiment that have lines."""
    return [row for row in summary(load_experiment(name), lines(), variant=variant) if row.seeds]


def section(name: str) -> list[str]:
    """Return published against measured, of the paper's reading and of each variant that has lines."""
    experiment = load_experiment(name)
    text = [f"{experiment.paper[0].upper()}{experiment.paper[1:]}."]
    text += [experiment.note] if experiment.note else []
    if experiment.cannot_run:
        return [*text, "", f"Cannot run: {experiment.cannot_run}."]
    rows = rows_of(name)
    if not rows:
        return [*text, "", f"Not measured yet: `fasim run {name}`."]
    varied = {variant: rows_of(name, variant) for variant in experiment.variants}
    found = [row for some in (rows, *varied.values()) for row in some]
    text += ["", *_table(experiment, rows, varied)]
    for variant, what in experiment.variants.items():
        if varied[variant]:
            text += ["", f"Variant `{variant}`, {what.title}:", "", *_table(experiment, varied[variant])]
    if (CURVES / f"{name}.png").exists():
        text += ["", f"![{name} over the epochs, mean and range of the seeds](curves/{name}.png)"]
    missing = [case.name for case in experiment.cases if case.name not in {row.case for row in rows}]
    if missing:
        text += ["", f"Not measured yet: {', '.join(missing)}."]
    return [*text, "", _made(name, found)]


def _tried(row: Row, varied: Mapping[str, list[Row]]) -> str:
    """Return what variants a figure that was not reproduced has, those alone that restore it where there are any."""
    if row.verdict != NOT_REPRODUCED:
        return ""
    what = (row.case, row.measure)
    own = [(name, one) for name, some in varied.items() for one in some if (one.case, one.measure) == what]
    restored = [(name, one) for name, one in own if one.verdict == REPRODUCED]
    texts = [f"`{name}` {measured(one)}" for name, one in restored or own if one.verdict != SHORT]
    return f"{', but by' if restored else '; tried:'} {', '.join(texts)}" if texts else ""


def _table(experiment: Experiment, rows: list[Row], varied: Mapping[str, list[Row]] = MappingProxyType({})) -> list[str]:
    """Return a row a measure and case; curves where they are short, the mean image's error where there is one."""
    curves = all(row.epochs <= CURVE for row in rows)
    images = all("test_loss_of_mean_image" in line for row in rows for line in row.lines)
    head = ["case", "measure", "published", "measured", "difference", "seeds", "epochs", "verdict"]
    head += ["by epoch, seed 0"] if curves else []
    head += ["of the mean image's"] if images else []
    table = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        difference = "" if row.difference is None else f"{row.difference:+.2f}"
        texts = [row.case, heading(row.measure), row.published.text, measured(row), difference]
        texts += [str(len(row.seeds)), epochs_of(row), row.verdict + _tried(row, varied)]
        if curves:
            texts.append(" ".join(_short(value) for value in curve_of(row.lines[0], row.measure)))
        if images:
            share = fmean(line["test_loss"][-1] / line["test_loss_of_mean_image"] for line in row.lines)
            texts.append(f"{100 * share:.0f} %")
        table.append("| " + " | ".join(texts) + " |")
    return table


def rates(name: str) -> list[str]:
    """Return the first measure of an experiment and its variants, a row a network, a column a rule and learning rate."""
    experiment = load_experiment(name)
    found: dict[tuple[str, float], dict[str, str]] = {}
    for variant in ("", *experiment.variants):
        rate_of = {case.name: case.value("learning_rate") for case in experiment.select(variant=variant)}
        for row in rows_of(name, variant):
            if row.measure == experiment.measures[0]:
                net, rule = row.case.split()
                found.setdefault((rule, rate_of[row.case]), {})[net] = measured(row)
    columns = sorted(found)
    nets = dict.fromkeys(net for figures in found.values() for net in figures)
    head = ["network", *(f"{rule} at {rate:g}" for rule, rate in columns)]
    body = [[net, *(found[column].get(net, "-") for column in columns)] for net in nets]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body)]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value >= 1 else f"{value:.4f}"


def orders() -> list[str]:
    """Return each order that a paper claims of cases that were run, as it has them and as each variant changes them."""
    table = ["| experiment | by | settings | claimed | measured | epochs | of the claimed pairs |", "|---" * 7 + "|"]
    for name in names():
        experiment = load_experiment(name)
        for order in experiment.orders:
            for variant in ("", *experiment.variants):
                own, rest = rows_of(name, variant), rows_of(name)
                cases = {case.name for case in experiment.select(variant=variant)}
                rows = own + [row for row in rest if row.case not in cases]
                pairs = pairs_held(order, rows)
                if not any(cases & {pair.better, pair.worse} for pair in pairs):
                    continue
                found = " > ".join(order.short(case) for case in measured_order(order, rows))
                epochs = dict.fromkeys(epochs_of(row) for row in rows if row.case in order.cases and row.seeds)
                texts = [f"{name} {order.row}".strip(), heading(order.measure)]
                texts += [f"`{variant}`" if variant else "the paper's", str(order), found, ", ".join(epochs)]
                table.append("| " + " | ".join([*texts, verdict(order, pairs)]) + " |")
    return table


def _made(name: str, rows: list[Row]) -> str:
    """Return what the lines of a section were made with."""
    used = [line for row in rows for line in row.lines]
    seconds = [row.seconds_per_epoch for row in rows if row.lines]
    notes = sorted({line["data_note"] for line in used if line["data_note"]})
    ends = dict.fromkeys(duration(end) for end in (min(seconds), max(seconds)))
    text = f"`python benchmarks/papers.py --table {name}`; an epoch trains in {' .. '.join(ends)}"
    commits = ", ".join(sorted({line["commit"] for line in used}))
    return "; ".join([text, *notes, f"commits {commits}"]) + "."


def machine() -> list[str]:
    """Return what the lines were measured on, and what a verdict is."""
    cpus = sorted({line["cpu"] for line in lines()})
    versions = sorted({", ".join(f"{name} {text}" for name, text in line["versions"].items()) for line in lines()})
    return [
        f"CPU {'; '.join(cpus)}, one thread a run; {'; '.join(versions)}.",
        "",
        f"*Reproduced*: the mean lies within {DEVIATIONS:g} published deviations, or {POINTS:g} points, of the figure.",
        "*Short run*: fewer epochs than the paper's, no verdict. *Stopped*: the paper's own rule ended the runs.",
    ]


def times() -> str:
    """Return what `fasim.experiments.measured_times` reads."""
    one_run = {name: run_time(load_experiment(name), lines()) for name in names()}
    cpus = sorted({line["cpu"] for line in lines()})
    found = {name: text for name, text in one_run.items() if text != NOT_MEASURED}
    return json.dumps({"cpu": f"one thread of {' or '.join(cpus)}", "one_run": found}, indent=1) + "\n"


SECTIONS: dict[str, Callable[[], list[str]]] = {
    "machine": machine,
    "orders": orders,
    "000-L1-rates": partial(rates, "000-L1"),
    **{name: partial(section, name) for name in names()},
}
