"""Tables and pictures of ``docs/front.md`` from ``benchmarks/results/front.jsonl``: accuracy against what training costs.

``render.py`` writes the tables; ``python benchmarks/render_front.py`` draws the pictures from the same lines.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from front import DATAPATHS, KINDS, NO_FEEDBACK, RESULTS, TASKS
from result_lines import done

from fasim import rules
from fasim.plots import COLOURS, MARKERS, MORE_COLOURS, png

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = {"mnist": DOCS / "front.png", "cifar10": DOCS / "front-cifar10.png"}
MJ, UJ, KB = 1e9, 1e6, 1e3
LETTERS = {"k1": "1", "k2": "2", "k4": "4", "sign": "\N{PLUS-MINUS SIGN}", "generated": "g"}


class Point(NamedTuple):
    """Means over the seeds of one rule, feedback and datapath; the energy to the target is None if a seed missed it."""

    rule: str
    feedback: str
    datapath: str
    rate: float
    errors: tuple[float, ...]
    energy_pj: float
    low_pj: float
    high_pj: float
    energy_to_target_pj: float | None
    reached: int
    live_bytes: float
    feedback_bytes: float
    saturated: float

    @property
    def error(self) -> float:
        """Mean test error after the last epoch, percent."""
        return fmean(self.errors)

    @property
    def name(self) -> str:
        """Rule and kind of feedback."""
        return self.rule if self.feedback in (NO_FEEDBACK, "dense") else f"{self.rule} {self.feedback}"


@cache
def points(table: str) -> tuple[Point, ...]:
    """Return what a table has measured, in the order of its cells."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in done(RESULTS).values():
        cell = line["cell"]
        if cell["table"] == table:
            groups[cell["rule"], cell["feedback"], cell["datapath"]].append(line)
    order = [(rule, kind) for rule in TASKS[table].rules for kind in (NO_FEEDBACK, *KINDS)]
    found = [_point(key, group) for key, group in groups.items()]
    return tuple(sorted(found, key=lambda one: (order.index(one[:2]), DATAPATHS.index(one.datapath))))


def _point(key: tuple[str, str, str], group: list[dict[str, Any]]) -> Point:
    first = group[0]
    needed = [line["energy_pj_to_target"]["typical"] for line in group]
    reached = [value for value in needed if value is not None]
    energy = first["energy_pj_per_sample"]
    return Point(
        *key,
        first["cell"]["learning_rate"],
        tuple(line["test_error_percent"][-1] for line in group),
        energy["typical"],
        energy["low"],
        energy["high"],
        median(reached) if len(reached) == len(group) else None,
        len(reached),
        first["peak_live_bytes"],
        first["feedback_bytes"],
        fmean(line["saturation_fraction"] for line in group),
    )


def front_order(found: Iterable[Point]) -> list[Point]:
    """Return those that have reached the target with every seed, cheapest first."""
    reached = [point for point in found if point.energy_to_target_pj is not None]
    return sorted(reached, key=lambda one: (one.energy_to_target_pj or 0.0, one.error))


def front(found: Iterable[Point]) -> list[Point]:
    """Return those than which no other has less test error for less energy to the target, cheapest first."""
    best: list[Point] = []
    for point in front_order(found):
        if not best or point.error < best[-1].error:
            best.append(point)
    return best


def table(name: str) -> list[str]:
    """Return a row a rule and feedback: error, energy to the target and memory on each datapath."""
    found = points(name)
    if not found:
        return [f"Not measured yet: `python benchmarks/front.py --table {name}`."]
    share = f"{100 * TASKS[name].target:g} %"
    head = ["rule", "feedback", "learning rate"]
    head += [f"{datapath}: test error %, mJ to {share}, uJ a sample, memory kB" for datapath in DATAPATHS]
    head += ["feedback in s8, bytes"]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    by_key = {point[:3]: point for point in found}
    for rule, kind in dict.fromkeys(point[:2] for point in found):
        cells = [by_key.get((rule, kind, datapath)) for datapath in DATAPATHS]
        known = next(point for point in cells if point)
        stored = f"{cells[-1].feedback_bytes:,.0f}" if cells[-1] else "-"
        rate = f"2^{_exponent(known.rate)}"
        rows.append(f"| {rule} | {kind} | {rate} | " + " | ".join(map(_cell, cells)) + f" | {stored} |")
    best = ", ".join(f"{point.name} on {point.datapath}" for point in front(found))
    task = TASKS[name]
    seeds = max(len(point.errors) for point in found)
    return [
        *rows,
        "",
        f"On the front (no other has less error for less energy): {best}.",
        "",
        f"{task.data}, {task.net}{', batch normalisation' * task.batch_norm}, "
        f"{task.hidden}/{task.output}, {task.loss}, SGD on the sum of a batch of "
        f"{task.batch_size}, {task.epochs} epochs, {seeds} seed{'s' * (seeds > 1)}; "
        f"`python benchmarks/front.py --table {name}`.",
    ]


def _exponent(rate: float) -> int:
    return -(round(1 / rate).bit_length() - 1)


def _cell(point: Point | None) -> str:
    if point is None:
        return "-"
    error = f"{point.error:.2f}" + (f" ±{stdev(point.errors):.2f}" if len(point.errors) > 1 else "")
    return f"{error}, {_needed(point)}, {point.energy_pj / UJ:.1f}, {point.live_bytes / KB:,.0f}"


def _needed(point: Point) -> str:
    """Return the energy to the target in mJ, or how many seeds have reached it."""
    if point.energy_to_target_pj is None:
        return f"{point.reached} of {len(point.errors)} seeds"
    return f"{point.energy_to_target_pj / MJ:,.0f}"


def rates(name: str) -> list[str]:
    """Return which learning rate was best how often, and which pairs found theirs at an end of the range."""
    chosen = {point[:2]: point.rate for point in points(name)}
    if not chosen:
        return ["No learning rate has been chosen yet."]
    highest, *_, lowest = TASKS[name].rates
    ends = sorted(" ".join(pair) for pair, rate in chosen.items() if rate in (highest, lowest))
    text = f"Learning rates tried: 2^{_exponent(highest)} to 2^{_exponent(lowest)}"
    return [text + (f"; the best was at an end for {', '.join(ends)}." if ends else "; none was best at an end.")]


def headline(name: str) -> list[str]:
    """Return each rule's cheapest way to the target, in one sentence."""
    task, found = TASKS[name], points(name)
    cheapest: dict[str, Point] = {}
    for point in front_order(found):
        cheapest.setdefault(point.rule, point)
    texts = [f"{one.name} on {one.datapath} {_needed(one)} mJ" for one in cheapest.values()]
    absent = [rule for rule in task.rules if rule not in cheapest]
    text = f"Each rule's cheapest way to {100 * task.target:g} % on {task.data} ({task.net}, batch {task.batch_size}): "
    text += ", ".join(texts) + (f"; not within {task.epochs} epochs: {', '.join(absent)}" if absent else "")
    errors = ", ".join(f"{one.name} {one.error:.2f} %" for one in cheapest.values())
    return [
        f"{text}. {100 * task.target:g} % of a validation split is passed on the way: test errors at the end are {errors}."
    ]


def picture(name: str) -> bytes:
    """Draw test error over energy to the target: colour = rule, marker = datapath, letter = feedback that is not dense."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    task, found = TASKS[name], front_order(points(name))
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(rules.names(), itertools.cycle(COLOURS + MORE_COLOURS), strict=False))
    markers = dict(zip(DATAPATHS, MARKERS, strict=False))
    best = front(found)
    corners = [(point.energy_to_target_pj / MJ, point.error) for point in best if point.energy_to_target_pj]
    axes.step(*zip(*corners, strict=True), where="post", color="#777777", linewidth=1, zorder=1)
    for point in found:
        colour, dense = colours[point.rule], point.feedback in (NO_FEEDBACK, "dense")
        face, edge = (colour, "white") if dense else ("white", colour)
        style = {"markersize": 9, "markerfacecolor": face, "markeredgecolor": edge, "zorder": 2}
        place = ((point.energy_to_target_pj or 0) / MJ, point.error)
        axes.plot(*place, markers[point.datapath], **style)
        if not dense:
            axes.annotate(LETTERS[point.feedback], place, ha="center", va="center_baseline", fontsize=6, color=colour)
    for point in best:
        place = ((point.energy_to_target_pj or 0) / MJ, point.error)
        axes.annotate(point.name, place, (6, 5), textcoords="offset points", fontsize=8, color=colours[point.rule])
    for set_scale in (axes.set_xscale, axes.set_yscale):
        set_scale("log")
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        shown_digits = "2357" if high > 2 * low else "123456789"
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _, of=shown_digits: f"{value:g}" if f"{value:e}"[0] in of else "")
    axes.set_xlabel(
        f"energy of training to {100 * task.target:g} % validation accuracy (mJ), generic_45nm, typical constants"
    )
    absent = [rule for rule in task.rules if rule not in {point.rule for point in found}]
    if absent:
        text = f"not reached in {task.epochs} epochs: {', '.join(absent)}"
        axes.text(0.01, 0.01, text, transform=axes.transAxes, fontsize=8)
    axes.set_ylabel(f"test error (%) after {task.epochs} epochs")
    axes.set_title(
        f"What does the accuracy cost? {task.data}, {task.net}, batch {task.batch_size}, {task.seeds} "
        f"seed{'s' * (task.seeds > 1)}\ndown and to the left is better; the line joins what nothing else beats in both",
        fontsize=11,
    )
    axes.grid(visible=True, which="both", linewidth=0.3, alpha=0.6)
    shown = [rule for rule in task.rules if rule not in absent]
    keys = [Line2D([], [], color=colours[rule], marker="o", linestyle="", label=rule) for rule in shown]
    first = axes.legend(handles=keys, title="learning rule", loc="upper left", bbox_to_anchor=(1.01, 1.0))
    axes.add_artist(first)
    first.set_clip_on(False)  # else the layout leaves no room for it
    keys = [Line2D([], [], color="#555555", marker=markers[one], linestyle="", label=one) for one in DATAPATHS]
    hollow = {"markerfacecolor": "white", "markeredgecolor": "#555555", "marker": "o", "linestyle": ""}
    text = "feedback not dense:\n1, 2, 4 outputs a unit,\n\N{PLUS-MINUS SIGN} signs, g generated"
    keys.append(Line2D([], [], label=text, **hollow))
    axes.legend(handles=keys, title="datapath", loc="lower left", bbox_to_anchor=(1.01, 0.0))
    return png(figure)


SECTIONS = {name: partial(table, name) for name in TASKS} | {f"{name}-rates": partial(rates, name) for name in TASKS}


if __name__ == "__main__":
    for name, path in PICTURES.items():
        if any(point.energy_to_target_pj for point in points(name)):
            path.write_bytes(picture(name))
