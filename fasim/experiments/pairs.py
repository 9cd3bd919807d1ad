"""Claimed orders against measured rows: which pairs hold, and in how many seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from fasim.experiments.orders import Order
from fasim.experiments.summary import Row


@dataclass(frozen=True)
class Pair:
    """Two cases of which one is claimed to be better.

    Parameters
    ----------
    better, worse : str
        As claimed.
    seeds, holds_in : int
        Seeds that both have, and those of them in which it is so.
    holds : bool
        Whether it is so of the means over these seeds.
    """

    better: str
    worse: str
    seeds: int
    holds_in: int
    holds: bool


def pairs_held(order: Order, rows: Iterable[Row]) -> list[Pair]:
    """Hold the pairs of an order against what was measured.

    Parameters
    ----------
    order : Order
    rows : iterable of Row
        Of one experiment and variant.

    Returns
    -------
    list of Pair
        Those whose cases both have runs of as many epochs with the same seeds; a run that diverged is worse than any other.
    """
    measured = {row.case: row for row in rows if row.measure == order.measure and row.seeds}
    found = []
    for better, worse in order.pairs:
        if better not in measured or worse not in measured or measured[better].epochs != measured[worse].epochs:
            continue
        first, other = (_losses(measured[case]) for case in (better, worse))
        seeds = first.keys() & other.keys()
        if seeds:
            holds_in = sum(first[seed] < other[seed] for seed in seeds)
            holds = sum(first[seed] for seed in seeds) < sum(other[seed] for seed in seeds)
            found.append(Pair(better, worse, len(seeds), holds_in, holds))
    return found


def measured_order(order: Order, rows: Iterable[Row]) -> list[str]:
    """Return the cases of an order that were measured, the best mean first; one with a run that diverged comes last."""
    losses = {
        row.case: _losses(row) for row in rows if row.measure == order.measure and row.case in order.cases and row.seeds
    }
    return sorted(losses, key=lambda case: sum(losses[case].values()) / len(losses[case]))


def verdict(order: Order, pairs: Sequence[Pair]) -> str:
    """Return ``all 9 pairs hold, dfa > bp in 2 of 3 seeds``, or ``8 of 9 pairs hold; not dfa > fa (in 1 of 3 seeds)``.

    A pair holds by its means; where it does not in every seed, it is named.

    Parameters
    ----------
    order : Order
    pairs : sequence of Pair
        Of that order, one at least.
    """
    if len(pairs) == 1:
        return f"{'holds' if pairs[0].holds else 'does not hold'} ({_seeds(pairs[0])})"
    missed = [
        f"{order.short(pair.better)} > {order.short(pair.worse)} ({_seeds(pair)})" for pair in pairs if not pair.holds
    ]
    narrow = [
        f", {order.short(pair.better)} > {order.short(pair.worse)} {_seeds(pair)}"
        for pair in pairs
        if pair.holds and pair.holds_in < pair.seeds
    ]
    held = f"all {len(pairs)}" if not missed else f"{len(pairs) - len(missed)} of {len(pairs)}"
    absent = len(order.pairs) - len(pairs)
    return "".join(
        [
            f"{held} pairs hold",
            *narrow,
            f"; not {', '.join(missed)}" if missed else "",
            f"; {absent} not measured" if absent else "",
        ]
    )


def _seeds(pair: Pair) -> str:
    return f"in {pair.holds_in} of {pair.seeds} seed{'s' if pair.seeds > 1 else ''}"


def _losses(row: Row) -> Mapping[int, float]:
    """Return the figure of each seed so that less is better."""
    sign = -1.0 if row.measure.endswith("_accuracy") else 1.0
    return {seed: sign * row.values[seed] if seed in row.values else inf for seed in row.seeds}
