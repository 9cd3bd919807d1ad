"""What ``fasim tune`` shows: the best settings of every rule on every datapath, and how sure they are."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from fasim.intervals import MeanInterval
from fasim.report import plural, power_of_two
from fasim.sweep.point import shown
from fasim.sweep.search import Best, Search


def table(search: Search, found: Sequence[Best]) -> Table:
    """Return the table of the best, a row a rule and datapath."""
    result = Table(title="best settings by accuracy on the validation split", title_justify="left")
    for name in ("rule", "datapath"):
        result.add_column(name, no_wrap=True)
    for name in ("lr", "feedback scale", "validation accuracy %", "test accuracy %", "lr as good", "trials"):
        result.add_column(name, justify="right", no_wrap=True)
    for one in found:
        low, high = (power_of_two(end) for end in one.as_good)
        scaled = "+scale:" in one.settings["feedback"]
        result.add_row(
            *(one.rule, shown(one.datapath), power_of_two(one.rate), f"{one.scale:g}" if scaled else "-"),
            *(percent(one.validation), percent(one.test), low if low == high else f"{low} .. {high}", str(one.trials)),
        )
    result.caption = (
        f"{plural(search.trials, 'trial')} for each rule and datapath, each over {plural(len(search.seeds), 'seed')}; "
        "intervals: 95 % over the seeds; as good: rates whose mean lies within the interval of the best; the validation "
        "accuracy is that of the best of many, the test set was not used to choose"
    )
    return result


def percent(value: MeanInterval) -> str:
    """Return ``97.2 (96.1..98.3)``."""
    text = f"{100 * value.mean:.1f}"
    return text if value.low is None or value.high is None else f"{text} ({100 * value.low:.1f}..{100 * value.high:.1f})"


def warnings(search: Search, found: Sequence[Best]) -> list[str]:
    """Return a line for each best that lies at the end of a range, and for each rule that has no trial."""
    ranges = {"learning rate": ("--lr-range", search.rates), "feedback scale": ("--scale-range", search.scales)}
    lines = []
    for one in found:
        for edge in one.edges:
            name, (low, high) = ranges[edge]
            lines.append(
                f"warning: {one.rule} on {shown(one.datapath)}: the best {edge} lies on the edge of the range; widen "
                f"{name} {power_of_two(low)}..{power_of_two(high)}"
            )
    there = {(one.rule, one.datapath) for one in found}
    for datapath in search.datapaths:
        missing = [rule for rule in search.rules if (rule, datapath) not in there]
        lines += [f"warning: {rule} on {shown(datapath)}: no trial has finished with every seed" for rule in missing]
    return lines


def commands(search: Search, found: Sequence[Best]) -> list[str]:
    """Return the command that compares the rules at these rates, one for each datapath; its feedback is not scaled."""
    lines, options = [], []
    for key, value in search.settings.items():
        if key != "validation":
            name = f"--{key.replace('_', '-')}"
            options.append(name if value is True else f"{name} {shlex.quote(shown_whole(value))}")
    shared = " ".join(["", *options])
    for datapath in dict.fromkeys(one.datapath for one in found):
        of_it = [one for one in found if one.datapath == datapath]
        rates = ",".join(f"{one.rule}={power_of_two(one.rate)}" for one in of_it)
        rules = ",".join(one.rule for one in of_it)
        lines.append(f"fasim compare --rules {rules} --datapaths {shlex.quote(datapath)} --lr {rates}{shared}")
    return lines


def shown_whole(value: object) -> str:
    """Return a setting with all of its digits."""
    return repr(value) if isinstance(value, float) else str(value)


def as_dict(search: Search, found: Sequence[Best]) -> dict[str, Any]:
    """Return the search for JSON; accuracies 0..1."""
    return {
        "trials": search.trials,
        "seeds": list(search.seeds),
        "lr_range": list(search.rates),
        "scale_range": list(search.scales),
        "rows": [
            {
                "rule": one.rule,
                "datapath": shown(one.datapath),
                "learning_rate": one.rate,
                "feedback": one.settings["feedback"],
                "feedback_scale": one.scale,
                "validation_accuracy": one.validation._asdict(),
                "test_accuracy": one.test._asdict(),
                "as_good": list(one.as_good),
                "distinct_trials": one.trials,
                "edges": list(one.edges),
            }
            for one in found
        ],
        "warnings": warnings(search, found),
    }
