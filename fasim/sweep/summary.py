"""The finished points of a sweep taken together: means over seeds, and which of them nothing else beats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from fasim.sweep.keys import KEYS

Row = dict[str, Any]

_MEANS = ("test_accuracy", "test_loss", "validation_accuracy", "train_accuracy", "saturation_fraction", "wraps")
# the same for every seed
_COSTS = (
    *("energy_pj_per_sample", "energy_ratio_to_bp", "macs_per_sample", "peak_activation_bytes", "peak_live_bytes"),
    *("feedback_bytes", "external_bytes", "fits", "data_note"),
)


@dataclass(frozen=True)
class Group:
    """The points that differ in their seed alone.

    Parameters
    ----------
    settings : dict
        Without the seed.
    seeds : tuple of int
    figures : dict
        ``<figure>_mean`` and ``<figure>_std`` over the seeds (None with one seed, or if a seed has none), costs as they
        are, ``diverged_seeds``.
    points : tuple of str
        Names of the folders, in the order of the seeds.
    """

    settings: Row
    seeds: tuple[int, ...]
    figures: Row
    points: tuple[str, ...]

    @property
    def accuracy(self) -> float | None:
        """Mean test accuracy, 0..1; None without labels."""
        value: float | None = self.figures["test_accuracy_mean"]
        return value

    @property
    def energy_pj(self) -> float:
        """Energy per training sample at typical constants."""
        return float(self.figures["energy_pj_per_sample"]["typical"])

    def as_dict(self) -> Row:
        """Return settings and figures as one dict, for JSON."""
        return {**self.settings, "seeds": list(self.seeds), **self.figures}


def group(rows: Iterable[Row]) -> list[Group]:
    """Return the groups of some points, in the order in which their first points come.

    Parameters
    ----------
    rows : iterable of dict
        From :meth:`fasim.sweep.SweepFolder.rows`.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        settings = {key: row.get(key, KEYS[key]) for key in KEYS if key != "seed"}
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    groups = []
    for same in found.values():
        same.sort(key=lambda row: int(row["seed"]))
        first = same[0]
        figures: Row = {}
        for name in _MEANS:
            values = [row[name] for row in same]
            whole = None not in values
            figures[f"{name}_mean"] = fmean(values) if whole else None
            figures[f"{name}_std"] = stdev(values) if whole and len(values) > 1 else None
        figures |= {name: first[name] for name in _COSTS}
        figures["diverged_seeds"] = [row["seed"] for row in same if row["diverged"]]
        settings = {key: first.get(key, KEYS[key]) for key in KEYS if key != "seed"}
        seeds, names = tuple(row["seed"] for row in same), tuple(row["point"] for row in same)
        groups.append(Group(settings, seeds, figures, names))
    return groups


def quality(each: Group) -> float | None:
    """Return what is better when larger: the mean accuracy, without labels minus the mean loss; None if one diverged."""
    if each.accuracy is not None:
        return each.accuracy
    loss = each.figures["test_loss_mean"]
    return None if loss is None else -loss


def pareto(groups: Sequence[Group]) -> list[int]:
    """Return the places of the groups that no other beats: none is at least as good for less, or better for as much.

    Ordered by energy; of groups that are equal in both, all are there.
    """
    places = [place for place, each in enumerate(groups) if quality(each) is not None]
    ranked = sorted(places, key=lambda place: (groups[place].energy_pj, -(quality(groups[place]) or 0.0)))
    front: list[int] = []
    for place in ranked:
        best = quality(groups[front[-1]]) if front else None
        own = quality(groups[place])
        equal = front and own == best and groups[place].energy_pj == groups[front[-1]].energy_pj
        if best is None or own > best or equal:  # type: ignore[operator]
            front.append(place)
    return front


def varying(groups: Sequence[Group], axes: Sequence[str]) -> list[str]:
    """Return the axes in which the groups differ, `rule` and `datapath` first."""
    found = [key for key in ("rule", "datapath", *axes) if key != "seed"]
    return [
        key
        for key in dict.fromkeys(found)
        if key in ("rule", "datapath") or len({repr(each.settings[key]) for each in groups}) > 1
    ]
