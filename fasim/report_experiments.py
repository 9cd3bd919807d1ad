"""What ``fasim run`` prints: the list of experiments, one with all its settings, and published beside measured figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from fasim.experiments import Case, Experiment, QuickRow, Row, measured_order, measured_times, pairs_held, verdict
from fasim.experiments.keys import ANGLES, MEASURES
from fasim.experiments.summary import summary

Line = dict[str, Any]
NOT_MEASURED = "-"


def duration(seconds: float) -> str:
    """Return a time in words of one unit."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def run_time(experiment: Experiment, lines: Iterable[Line]) -> str:
    """Return how long one run of the paper's epochs takes by result lines: the fastest case .. the slowest."""
    rows = [row for row in summary(experiment, lines) if row.lines]
    times = [row.seconds_of_a_run for row in rows]
    if not times:
        return NOT_MEASURED
    ends = dict.fromkeys(duration(end) for end in (min(times), max(times)))
    return " .. ".join(ends)


def list_table(experiments: Sequence[Experiment], lines: Sequence[Line]) -> Table:
    """Return the table of all experiments, with the time of a run by result lines, or in brackets that on another CPU."""
    times = measured_times()
    table = Table(title="the papers' experiments", title_justify="left")
    for name in ("name", "what it is", "paper", "cases", "seeds", "epochs", "one run here"):
        table.add_column(name, no_wrap=name in ("name", "epochs", "one run here"))
    for experiment in experiments:
        first = experiment.cases[0]
        here, there = run_time(experiment, lines), times.one_run.get(experiment.name)
        cases = str(len(experiment.cases)) if not experiment.cannot_run else f"{len(experiment.cases)}, cannot run"
        table.add_row(
            experiment.name,
            experiment.title,
            experiment.paper.partition(",")[0],
            cases,
            str(first.value("seeds")),
            str(first.value("epochs")),
            f"({there})" if here == NOT_MEASURED and there else here,
        )
    table.caption = (
        "one run: a case and seed with the paper's epochs, by the result lines; "
        f"in brackets: not run here, on {times.cpu}; more with `fasim run NAME --show`"
    )
    return table


def shared_keys(cases: Sequence[Case]) -> list[str]:
    """Return the settings that all cases have alike."""
    keys = dict.fromkeys(key for case in cases for key in case.settings)
    return [key for key in keys if len({repr(case.settings.get(key)) for case in cases}) == 1]


def settings_table(experiment: Experiment, cases: Sequence[Case]) -> Table:
    """Return what all cases have in common, with where each setting is from."""
    table = Table(title=f"{experiment.name}: {experiment.title}", title_justify="left", caption=experiment.paper)
    for name in ("setting", "value", "source"):
        table.add_column(name, no_wrap=name == "setting")
    for key in shared_keys(cases):
        setting = cases[0].settings[key]
        table.add_row(key, text(setting.value), setting.source)
    return table


def cases_table(experiment: Experiment, cases: Sequence[Case]) -> Table:
    """Return what differs from case to case, and what was published of each."""
    shared = shared_keys(cases)
    own = [key for key in dict.fromkeys(key for case in cases for key in case.settings) if key not in shared]
    table = Table(title="cases", title_justify="left", caption=_sources(cases, own))
    for name in ("case", *own, *(f"published {heading(measure)}" for measure in experiment.measures)):
        table.add_column(name)
    for case in cases:
        values = [text(case.settings[key].value) if key in case.settings else "" for key in own]
        table.add_row(case.name, *values, *(case.published[measure].text for measure in experiment.measures))
    return table


def _sources(cases: Sequence[Case], own: Sequence[str]) -> str:
    found = []
    for key in own:
        sources = dict.fromkeys(case.settings[key].source for case in cases if key in case.settings)
        found.append(f"{key}: {' | '.join(sources)}")
    measures = {measure: published.source for case in cases for measure, published in case.published.items()}
    found += [f"published {heading(measure)}: {source}" for measure, source in measures.items()]
    return "; ".join(found)


def text(value: object) -> str:
    """Return a setting as a file writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def heading(measure: str) -> str:
    """Return ``test error %`` for ``test_error``."""
    return f"{measure.replace('_', ' ')} {MEASURES[measure]}".strip()


def measured(row: Row) -> str:
    """Return ``2.61 ±0.10``; how many runs diverged, if any did; a rule without a signal has no angle."""
    lost = len(row.seeds) - len(row.values)
    if row.measure in ANGLES and lost == len(row.seeds):
        return NOT_MEASURED
    words = f" ({lost} of {len(row.seeds)} diverged)" if lost else ""
    if row.mean is None:
        return "diverged" if lost else NOT_MEASURED
    digits = 4 if row.measure == "test_loss" else 2
    return f"{row.mean:.{digits}f}" + ("" if row.spread is None else f" ±{row.spread:.{digits}f}") + words


def epochs_of(row: Row) -> str:
    """Return ``10 of 100``, ``100`` where the run was as long as the paper's, or ``76 .. 81, stopped`` by its rule."""
    if not row.seeds:
        return NOT_MEASURED
    if row.stopped:
        ends = dict.fromkeys((min(row.lengths), max(row.lengths)))
        return f"{' .. '.join(map(str, ends))}, stopped"
    return f"{row.epochs} of {row.epochs_of}" if row.epochs != row.epochs_of else str(row.epochs)


def result_table(experiment: Experiment, rows: Sequence[Row], variant: str = "") -> Table:
    """Return published beside measured figures, a row a case (and measure where there are several)."""
    several = len(experiment.measures) > 1
    name = f"{experiment.name} ({variant})" if variant else experiment.name
    notes = {line["data_note"] for row in rows for line in row.lines if line["data_note"]}
    table = Table(title=f"{name}: {experiment.title}", title_justify="left")
    columns = ["published", "measured", "difference", "seeds", "epochs", "verdict"]
    columns = ["case", "measure", *columns] if several else ["case", heading(experiment.measures[0]), *columns[1:]]
    for column in columns:
        table.add_column(column if column != heading(experiment.measures[0]) else f"published {column}", no_wrap=True)
    for row in rows:
        difference = "" if row.difference is None else f"{row.difference:+.2f}"
        start = [row.case, heading(row.measure)] if several else [row.case]
        table.add_row(
            *(*start, row.published.text, measured(row), difference),
            *(str(len(row.seeds)), epochs_of(row), row.verdict),
        )
    table.caption = "; ".join(
        [
            "reproduced: within 3 published deviations or 0.3 points; a short run had fewer epochs than the paper's",
            *(["stopped: the paper's own rule ended the runs"] if any(row.stopped for row in rows) else []),
            *sorted(notes),
        ]
    )
    return table


def orders_held(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    """Return a line for each order that the paper claims of cases that have runs: as claimed, as measured, what holds."""
    lines = []
    for order in experiment.orders:
        if pairs := pairs_held(order, rows):
            found = " > ".join(order.short(case) for case in measured_order(order, rows))
            what = f"{order.row}, {heading(order.measure)}" if order.row else heading(order.measure)
            lines.append(f"claimed ({what}): {order}; measured: {found}; {verdict(order, pairs)}")
    return lines


def quick_figure(row: QuickRow) -> str:
    """Return ``6.62, band 6.1 .. 7.3``, and that it is outside where it is."""
    value = "diverged" if row.value is None else f"{row.value:.4g}"
    return f"{value}, band {row.band[0]:g} .. {row.band[1]:g}" + ("" if row.inside else ", outside")


def quick_table(rows: Sequence[QuickRow]) -> Table:
    """Return each short run beside its band."""
    table = Table(title="short runs, seed 0, beside the bands that were measured", title_justify="left")
    for name in ("experiment", "case", "measure", "epochs", "measured", "band", "inside"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        value = "diverged" if row.value is None else f"{row.value:.4g}"
        band = f"{row.band[0]:g} .. {row.band[1]:g}"
        inside = "yes" if row.inside else "no"
        table.add_row(row.experiment, row.case, heading(row.measure), str(row.epochs), value, band, inside)
    return table
