"""A sweep as one HTML page that needs nothing else: sortable table, pictures, filters by rule and datapath."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from fasim.plots_sweep import figure_label, height, rule_colours
from fasim.report import plural
from fasim.sweep import Group
from fasim.sweep.point import shown

Column = dict[str, Any]


def page(title: str, groups: Sequence[Group], columns: Sequence[str], *, unfinished: int = 0) -> str:
    """Return the page of some groups; scripts, styles and figures are all within it.

    Parameters
    ----------
    title : str
    groups : sequence of Group
    columns : sequence of str
        Settings that tell the groups apart, `rule` and `datapath` among them.
    unfinished : int
        Points that are still to run, for the note on top.
    """
    folder = files("fasim.sweep") / "page"
    parts = {
        "title": html.escape(title),
        "style": (folder / "page.css").read_text(encoding="utf-8"),
        "data": _as_script(_content(groups, columns, unfinished)),
        "script": (folder / "page.js").read_text(encoding="utf-8"),
    }
    text = (folder / "page.html").read_text(encoding="utf-8")
    before, *pieces = text.split("{{")
    for piece in pieces:  # in one pass: what is filled in may itself hold braces
        name, _, after = piece.partition("}}")
        before += parts[name] + after
    return before


def _content(groups: Sequence[Group], columns: Sequence[str], unfinished: int) -> dict[str, Any]:
    label = figure_label(groups)
    labels = all(each.accuracy is not None for each in groups)
    settings: list[Column] = [{"key": key, "label": key.replace("_", " "), "axis": True} for key in columns]
    figures: list[Column] = [
        {"key": "energy", "label": "energy (nJ)", "digits": 1, "axis": True},
        {"key": "figure", "label": label, "digits": 2 if labels else 4, "axis": True},
        {"key": "ratio", "label": "ratio to bp", "digits": 3},
        {"key": "act_kib", "label": "act memory (KiB)", "digits": 2},
        {"key": "saturated", "label": "saturated (%)", "digits": 3},
        {"key": "seeds", "label": "seeds", "digits": 0},
    ]
    waiting = f"; {plural(unfinished, 'point')} of the sweep not finished" if unfinished else ""
    processors = ", ".join(sorted({shown(each.settings["processor"]) for each in groups}))
    notes = sorted({each.figures["data_note"] for each in groups if each.figures["data_note"]})
    return {
        "note": "; ".join([f"mean over the seeds; energy per training sample on {processors}{waiting}", *notes]),
        "figure": label,
        "lower": not labels,
        "colours": rule_colours(),
        "columns": settings + figures,
        "rows": [_row(number, each, columns) for number, each in enumerate(groups)],
    }


def _row(number: int, each: Group, columns: Sequence[str]) -> dict[str, Any]:
    figures, energy = each.figures, each.figures["energy_pj_per_sample"]
    exact = each.settings["datapath"] == "float32"
    deviation = figures["test_accuracy_std"] if each.accuracy is not None else figures["test_loss_std"]
    unit = 100 if each.accuracy is not None else 1
    texts = {key: _plain(each.settings[key]) for key in columns}
    return texts | {
        "id": number,
        "energy": energy["typical"] / 1e3,
        "low": energy["low"] / 1e3,
        "high": energy["high"] / 1e3,
        "figure": height(each),
        "deviation": None if deviation is None else unit * deviation,
        "ratio": figures["energy_ratio_to_bp"]["typical"],
        "act_kib": figures["peak_activation_bytes"] / 1024,
        "saturated": None if exact else 100 * figures["saturation_fraction_mean"],
        "seeds": len(each.seeds),
    }


def _plain(value: object) -> object:
    """Return numbers as they are, so that they sort and have an axis, and all else as the tables write it."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else shown(value)


def _as_script(content: dict[str, Any]) -> str:
    """Return JSON that may stand within a script: no text in it can end that."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")
