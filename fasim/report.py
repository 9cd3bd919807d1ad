"""What a person reads: tables in the terminal, and the files of a run folder."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fasim import plots, plots_target
from fasim.comparison import Comparison
from fasim.energy import Estimate
from fasim.errors import OutputError
from fasim.files import ResultFolder, user_path, write_json, write_whole
from fasim.progress import figures
from fasim.target import Target
from fasim.training import Run


def result_folder(out: str | None, what: str, data: str, *, alone: bool = False) -> ResultFolder:
    """Make the folder of a run: `out`, or ``runs/<time>-<what>-<data>``, which no other run shares.

    With `alone` it is held against other processes until it is released.
    """
    if out is not None:
        if not out.strip():
            raise OutputError("--out '': give the name of a folder, or leave the option out")
        return ResultFolder(user_path(out), alone=alone)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return ResultFolder(Path("runs") / f"{stamp}-{what}-{Path(data).stem}", fresh=True, alone=alone)


def picojoules(value: float) -> str:
    """Return an energy with a readable unit and without digits that mean nothing."""
    for unit, size in (("J", 1e12), ("mJ", 1e9), ("uJ", 1e6), ("nJ", 1e3)):
        if value >= size:
            return f"{_two_digits(value / size)} {unit}"
    return f"{_two_digits(value)} pJ"


def kibibytes(value: float) -> str:
    """Return a memory size in bytes, KiB and so on."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{_two_digits(value / size)} {unit}"
    return f"{value:.0f} B"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def power_of_two(rate: float) -> str:
    """Return a learning rate as 2^-k where it is one."""
    mantissa, exponent = math.frexp(rate)
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{rate:g}"


ACCURACY = "test accuracy %"
LOSS = "test loss"
COLUMNS = (
    ACCURACY,
    "energy/sample",
    "ratio to bp",
    "act memory",
    "saturated",
    "memory",
    "feedback",
    "wrapped",
    "lr",
    "samples/s",
)
ALWAYS = 3
NOT_REACHED = "not reached"
# a pipe has room for every column
PIPE_WIDTH = 200
# an accuracy below this many times that of guessing says that the learning rate did not fit, not what the rule can do
CHANCE = 1.5


def comparison_table(comparison: Comparison, width: int = PIPE_WIDTH) -> Table:
    """Return the table of a comparison, one row a rule and datapath, for so many characters a line.

    Columns that do not fit are left out from the right and named below the table; ``rows.csv`` has them all.
    """
    content = comparison.as_dict()
    rows: list[dict[str, Any]] = content["rows"]  # type: ignore[assignment]
    note = f" ({comparison.data_note})" if comparison.data_note else ""
    figure = ACCURACY if comparison.has_labels else LOSS
    several = len({row["rule"] for row in rows}) > 1
    difference = (f"difference to {rows[0]['rule']}",) if several else ()
    columns = (figure, *_target_columns(comparison.target), *COLUMNS[1:ALWAYS], *difference, *COLUMNS[ALWAYS:])
    cells = [dict(zip(columns, _cells(row, several), strict=True)) for row in rows]
    names = max(len(row["rule"]) for row in rows) + max(len(row["datapath"]) for row in rows)
    shown: list[str] = []
    used = max(names, len("rule" + "datapath")) + 7
    for name in columns:
        used += max(len(name), *(len(row[name]) for row in cells)) + 3
        if used <= width or len(shown) < ALWAYS:
            shown.append(name)
        else:
            break
    table = Table(
        title=f"{comparison.data}{note}, {content['net']}, {content['hidden']}/{content['output']}/"
        f"{comparison.settings.loss}, batch {comparison.settings.batch_size}, {plural(comparison.epochs, 'epoch')}",
        caption=_caption(comparison, rows, [name for name in columns if name not in shown]),
    )
    for name in ("rule", "datapath"):
        table.add_column(name, no_wrap=True, min_width=max(len(name), *(len(row[name]) for row in rows)))
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    datapath = None
    for row, texts in zip(rows, cells, strict=True):
        if datapath is not None and row["datapath"] != datapath:
            table.add_section()
        datapath = row["datapath"]
        table.add_row(row["rule"], datapath, *(texts[name] for name in shown))
    return table


def _caption(comparison: Comparison, rows: list[dict[str, Any]], hidden: list[str]) -> str:
    text = (
        f"energy per training sample on {comparison.processor}; ratio to bp on the same datapath, low .. high over the "
        "technology's constants; memory: most bytes of one step that live at once, act memory those of activations"
    )
    if any(row["difference_to_first"]["mean"] is not None for row in rows):
        text += f"; difference to {rows[0]['rule']}: mean over the seeds of both, with its 95 % interval"
    if comparison.target is not None:
        text += _target_note(comparison, rows)
    if not all(row["fits"] for row in rows):
        text += "; ! more than the processor holds: the energy is too low"
    if any(row["external_bytes"] for row in rows):
        text += "; * part of it in external memory, `fasim energy` says which"
    guess = CHANCE / comparison.network.outputs
    accuracies = [(row["test_accuracy_mean"], f"{row['rule']} {row['datapath']}") for row in rows]
    lost = [name for accuracy, name in accuracies if accuracy is not None and accuracy < guess]
    if lost:
        text += f"; no better than guessing, try another --lr: {', '.join(lost)}"
    if hidden:
        text += f"; more columns in a wider terminal and in rows.csv: {', '.join(hidden)}"
    return text


def plural(count: int, what: str) -> str:
    """Return ``1 epoch`` or ``2 epochs``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _cells(row: dict[str, Any], several: bool) -> list[str]:  # noqa: FBT001
    figure = _mean(row["test_loss_mean"], row["test_loss_std"], 1, 4)
    if row["test_accuracy_mean"] is not None:
        figure = _mean(row["test_accuracy_mean"], row["test_accuracy_std"], 100, 1)
    if row["diverged_seeds"]:
        figure += " diverged"
    ratio = row["energy_ratio_to_bp"]
    exact = row["datapath"] == "float32"
    return [
        figure.lstrip(),
        *_target_cells(row),
        picojoules(row["energy_pj_per_sample"]["typical"]),
        f"{ratio['typical']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})",
        *([_difference(row)] if several else []),
        kibibytes(row["peak_activation_bytes"]),
        "-" if exact else f"{100 * row['saturation_fraction']:.2g} %",
        kibibytes(row["peak_live_bytes"]) + ((" *" if row["external_bytes"] else "") if row["fits"] else " !"),
        kibibytes(row["feedback_bytes"]),
        "-" if exact else f"{row['wraps']:.0f}",
        power_of_two(row["learning_rate"]),
        f"{row['train_samples_per_s']:,}",
    ]


def _difference(row: dict[str, Any]) -> str:
    """Return ``-0.7 (-1.2..-0.2)``, in points of accuracy; without labels of the loss."""
    found = row["difference_to_first"]
    if found["mean"] is None:
        return "-"
    unit, digits = (1, 4) if row["test_accuracy_mean"] is None else (100, 1)
    text = f"{unit * found['mean']:+.{digits}f}"
    return (
        text if found["low"] is None else f"{text} ({unit * found['low']:+.{digits}f}..{unit * found['high']:+.{digits}f})"
    )


def _target_columns(target: Target | None) -> tuple[str, ...]:
    if target is None:
        return ()
    return (f"energy to {100 * target.accuracy:g} %", "reached", "over seeds", "its ratio to bp")


def _target_cells(row: dict[str, Any]) -> list[str]:
    if "target_reached" not in row:
        return []
    energy, ends = row["energy_pj_to_target"]["typical"], row["energy_pj_to_target_range"].values()
    spread = " .. ".join("never" if end is None else picojoules(end) for end in ends)
    return [
        NOT_REACHED if energy is None else picojoules(energy),
        f"{row['target_reached']} of {len(row['seeds'])}",
        spread if row["target_reached"] else "-",
        _target_ratio(row),
    ]


def _target_ratio(row: dict[str, Any]) -> str:
    """Return the ratio of the medians, and how far it differs from seed to seed: more than over the constants."""
    ratio = row["energy_to_target_ratio_to_bp"]["typical"]
    if ratio is None:
        return "-"
    if len(row["seeds"]) == 1:
        return f"{ratio:.2f} (1 seed)"
    ends = row["energy_to_target_ratio_to_bp_range"]
    smallest, largest = ("never" if ends[end] is None else f"{ends[end]:.2f}" for end in ("smallest", "largest"))
    return f"{ratio:.2f} (seeds {smallest}..{largest})"


def _target_note(comparison: Comparison, rows: list[dict[str, Any]]) -> str:
    target: dict[str, Any] = comparison.as_dict()["target"]  # type: ignore[assignment]
    text = (
        f"; energy to {100 * target['accuracy']:g} %: median and range over the seeds of what training costs until the "
        f"second of two evaluations in a row that hold it, on the {100 * target['validation']:g} % of the training set "
        f"that is held out, every {target['evaluate_every']:,} samples"
    )
    resolutions = [row["target_resolution"] for row in rows if row["target_resolution"] is not None]
    if resolutions:
        text += (
            f"; its ratio: of the medians, and from seed to seed; one evaluation step is {_shares(resolutions)} of a median"
        )
    if any(row["energy_pj_to_target"]["typical"] is None and row["target_reached"] for row in rows):
        text += "; a seed that does not reach it counts as infinite in the median"
    return text


def _shares(numbers: list[float]) -> str:
    """Return ``5 %`` or ``5 .. 9 %``."""
    ends = dict.fromkeys(f"{100 * number:.2g}" for number in (min(numbers), max(numbers)))
    return " .. ".join(ends) + " %"


def _mean(mean: float | None, deviation: float | None, unit: int, digits: int) -> str:
    """Return ``97.5 ±0.3``; nothing for the loss of a run that has diverged."""
    if mean is None:
        return ""
    return f"{unit * mean:.{digits}f}" + ("" if deviation is None else f" ±{unit * deviation:.{digits}f}")


def line_width() -> int:
    """Return the characters that a line of standard output may have; a pipe has room for everything."""
    console = Console()
    return console.width if console.is_terminal else PIPE_WIDTH


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    Console(width=line_width()).print(table)


NOT_IN_JSON = ("external_bytes", "fits", "diverged_seeds")
JSON_KEYS = ("data", "net", "processor", "run_folder", "target", "rows")


def as_json(comparison: Comparison, folder: Path) -> str:
    """Return the JSON of ``fasim compare --json``; ``summary.json`` holds more."""
    content = comparison.as_dict() | {"run_folder": str(folder)}
    if comparison.data_note:
        content["data"] = f"{comparison.data} ({comparison.data_note})"
    rows: list[dict[str, Any]] = content["rows"]  # type: ignore[assignment]
    content["rows"] = [{key: value for key, value in row.items() if key not in NOT_IN_JSON} for row in rows]
    return json.dumps({key: content[key] for key in JSON_KEYS if key in content}, indent=1, allow_nan=False)


def provenance() -> dict[str, object]:
    """Return what a result was made with, and when."""
    return {
        "made": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(["fasim", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("fasim", "numpy", "numba")},
    }


def write_figures(comparison: Comparison, folder: Path) -> None:
    """Write ``summary.json``, ``rows.csv`` and, with a target accuracy, ``curve.csv`` of all evaluations, each whole."""
    runs = [run.summary() for row in comparison.rows for run in row.runs]
    content = comparison.as_dict() | {"run_folder": str(folder)} | provenance() | {"runs": runs}
    write_json(folder / "summary.json", content)
    rows: list[dict[str, Any]] = comparison.as_dict()["rows"]  # type: ignore[assignment]
    write_whole(folder / "rows.csv", as_csv([_flat(row) for row in rows]))
    if comparison.target is not None:
        write_whole(folder / "curve.csv", as_csv([point for row in comparison.rows for point in row.curve()]))


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the figures and the pictures, each file whole or not at all; return the pictures' paths.

    The first is ``accuracy_energy.png``, or ``loss_energy.png`` where there are no labels. With a target accuracy
    ``accuracy_over_energy.png`` follows.
    """
    write_figures(comparison, folder)
    pictures = {f"{'accuracy' if comparison.has_labels else 'loss'}_energy.png": plots.accuracy_energy(comparison)}
    if comparison.target is not None:
        pictures["accuracy_over_energy.png"] = plots_target.accuracy_over_energy(comparison)
    for name, picture in pictures.items():
        write_whole(folder / name, picture)
    return [folder / name for name in pictures]


def run_lines(run: Run, energy: Estimate, data: str) -> list[str]:
    """Return what ``fasim train`` prints of a run."""
    note = f" ({run.data_note})" if run.data_note else ""
    last, labels = run.epochs[-1], run.settings.target == "label"
    figure = f"accuracy {100 * last.test_accuracy:.2f} %" if labels else f"loss {last.test_loss:.4f} ({run.settings.loss})"
    lines = [
        f"{run.schedule.rule} on {run.schedule.datapath}, {data}{note}, {run.network}: "
        f"test {figure}" + (" (diverged)" if run.diverged else "")
    ]
    if not math.isnan(last.train_loss):
        lines.append(f"on the training set: {figures(last.train_accuracy, last.train_loss)}")
    if run.stopped:
        lines.append(f"stopped after {plural(len(run.epochs), 'epoch')}: {run.plan.stop} was reached")
    if run.schedule.datapath != "float32":
        total = run.trace.total
        lines.append(f"{total.saturations:,} of {total.elements:,} casts saturated, {total.wraps:,} wrapped{_worst(run)}")
    if labels and run.test_accuracy < CHANCE / run.network.outputs:
        lines.append("this is no better than guessing: try another --lr")
    elif run.diverged:
        lines.append("try a smaller --lr")
    return lines + estimate_lines(energy)


def _worst(run: Run) -> str:
    """Name the cast where the largest share overflowed: an average over all casts hides it."""
    site, count = max(run.trace.sites.items(), key=lambda item: (item[1].saturations + item[1].wraps) / item[1].elements)
    outside = count.saturations + count.wraps
    return f"; most at {site}, {100 * outside / count.elements:.2g} %" if outside else ""


def estimate_lines(energy: Estimate) -> list[str]:
    """Return energy, ratio and memory of an estimate in words."""
    spread, ratio = energy.energy_pj_per_sample, energy.energy_ratio_to_bp
    return [
        f"energy per training sample on {energy.processor}: {picojoules(spread.typical)} "
        f"({picojoules(spread.low)} .. {picojoules(spread.high)})",
        f"ratio to {energy.versus}: {ratio.typical:.3f} ({ratio.low:.3f} .. {ratio.high:.3f})",
        f"MACs per sample: {energy.macs_per_sample:,}",
        f"peak memory: {kibibytes(energy.peak_activation_bytes)} of act, {kibibytes(energy.peak_live_bytes)} in all, "
        + where(energy),
    ]


def where(energy: Estimate) -> str:
    """Say where what a step keeps lives, outside of the chip or where it does not fit."""
    if not energy.fits:
        return "more than the memories hold: the energy is too low"
    outside = [cls for memory in energy.memories if memory.external for cls in memory.needed_bytes]
    tables = f", {kibibytes(energy.table_bytes)} of it tables beside the arithmetic" if energy.table_bytes else ""
    if not outside:
        return f"all of it on the chip{tables}"
    name = next(f"{memory.technology} {memory.name}".strip() for memory in energy.memories if memory.external)
    return f"{kibibytes(energy.external_bytes)} of it in {name}: {', '.join(outside)}{tables}"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with nested values as columns: energy_pj_per_sample_low and so on."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}_{inner}": number for inner, number in value.items()}
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """Return rows with the same keys as CSV, its header first."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()
