"""What a person reads: tables in the terminal, and the files of a run folder."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fasim import plots
from fasim.comparison import Comparison
from fasim.energy import Estimate
from fasim.files import ResultFolder, write_json, write_whole
from fasim.training import Run


def result_folder(out: str | None, what: str, data: str) -> ResultFolder:
    """Make the folder of a run: `out`, or ``runs/<time>-<what>-<data>``, which no other run shares."""
    if out is not None:
        return ResultFolder(Path(out))
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return ResultFolder(Path("runs") / f"{stamp}-{what}-{Path(data).stem}", fresh=True)


def picojoules(value: float) -> str:
    """Return an energy with a readable unit and without digits that mean nothing."""
    for unit, size in (("J", 1e12), ("mJ", 1e9), ("uJ", 1e6), ("nJ", 1e3)):
        if value >= size:
            return f"{_two_digits(value / size)} {unit}"
    return f"{_two_digits(value)} pJ"


def kibibytes(value: float) -> str:
    """Return a memory size in bytes, KiB or MiB."""
    for unit, size in (("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{_two_digits(value / size)} {unit}"
    return f"{value:.0f} B"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def power_of_two(rate: float) -> str:
    """Return a learning rate as 2^-k where it is one."""
    import math

    mantissa, exponent = math.frexp(rate)
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{rate:g}"


COLUMNS = (
    "test accuracy %",
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
# a terminal narrower than this shows fewer columns; rows.csv has them all
WIDE = 150
WIDE_ONLY = ("memory", "feedback", "wrapped", "lr", "samples/s")


def comparison_table(comparison: Comparison, width: int = WIDE) -> Table:
    """Return the table of a comparison, one row a rule and datapath, for so many characters a line."""
    content = comparison.as_dict()
    rows: list[dict[str, Any]] = content["rows"]  # type: ignore[assignment]
    note = f" ({comparison.data_note})" if comparison.data_note else ""
    table = Table(
        title=f"{comparison.data}{note}, {content['net']}, {content['hidden']}/{content['output']}/"
        f"{comparison.settings.loss}, batch {comparison.settings.batch_size}, {comparison.epochs} epochs",
        caption=f"energy per training sample on {comparison.processor}; ratio to bp on the same datapath, "
        "low .. high over the technology's constants"
        + ("" if all(row["fits"] for row in rows) else "; ! more than its memory holds: the energy is too low"),
    )
    for name in ("rule", "datapath"):
        table.add_column(name)
    shown = [name for name in COLUMNS if width >= WIDE or name not in WIDE_ONLY]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    datapath = None
    for row in rows:
        if datapath is not None and row["datapath"] != datapath:
            table.add_section()
        datapath = row["datapath"]
        cells = dict(zip(COLUMNS, _cells(row), strict=True))
        table.add_row(row["rule"], datapath, *(cells[name] for name in shown))
    return table


def _cells(row: dict[str, Any]) -> list[str]:
    accuracy = f"{100 * row['test_accuracy_mean']:.1f}"
    if row["test_accuracy_std"] is not None:
        accuracy += f" ±{100 * row['test_accuracy_std']:.1f}"
    if row["diverged_seeds"]:
        accuracy += " diverged"
    ratio = row["energy_ratio_to_bp"]
    exact = row["datapath"] == "float32"
    return [
        accuracy,
        picojoules(row["energy_pj_per_sample"]["typical"]),
        f"{ratio['typical']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})",
        kibibytes(row["peak_activation_bytes"]),
        "-" if exact else f"{100 * row['saturation_fraction']:.2g} %",
        kibibytes(row["peak_live_bytes"]) + ("" if row["fits"] else " !"),
        kibibytes(row["feedback_bytes"]),
        "-" if exact else f"{row['wraps']:.0f}",
        power_of_two(row["learning_rate"]),
        f"{row['train_samples_per_s']:,}",
    ]


def line_width() -> int:
    """Return the characters that a line of standard output may have; a pipe has room for everything."""
    console = Console()
    return console.width if console.is_terminal else WIDE


def print_table(table: Table) -> None:
    """Print a table to standard output."""
    Console(width=line_width()).print(table)


NOT_IN_JSON = ("fits", "diverged_seeds")
JSON_KEYS = ("data", "net", "processor", "run_folder", "rows")


def as_json(comparison: Comparison, folder: Path) -> str:
    """Return the JSON of ``fasim compare --json``; ``summary.json`` holds more."""
    content = comparison.as_dict() | {"run_folder": str(folder)}
    if comparison.data_note:
        content["data"] = f"{comparison.data} ({comparison.data_note})"
    rows: list[dict[str, Any]] = content["rows"]  # type: ignore[assignment]
    content["rows"] = [{key: value for key, value in row.items() if key not in NOT_IN_JSON} for row in rows]
    return json.dumps({key: content[key] for key in JSON_KEYS}, indent=1, allow_nan=False)


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write ``summary.json``, ``rows.csv`` and ``accuracy_energy.png``, each whole or not at all."""
    runs = [run.summary() for row in comparison.rows for run in row.runs]
    write_json(folder / "summary.json", comparison.as_dict() | {"run_folder": str(folder), "runs": runs})
    write_whole(folder / "rows.csv", _csv([_flat(row.as_dict()) for row in comparison.rows]))
    write_whole(folder / "accuracy_energy.png", plots.accuracy_energy(comparison))


def write_run(run: Run, content: dict[str, Any], folder: Path) -> None:
    """Write ``summary.json``, ``epochs.csv`` and ``learning_curves.png`` of one training run."""
    write_json(folder / "summary.json", content)
    write_whole(folder / "epochs.csv", _csv(content["epochs"]))
    write_whole(folder / "learning_curves.png", plots.learning_curves(run, content["data"]))


def run_lines(run: Run, energy: Estimate, data: str) -> list[str]:
    """Return what ``fasim train`` prints of a run."""
    note = f" ({run.data_note})" if run.data_note else ""
    lines = [
        f"{run.schedule.rule} on {run.schedule.datapath}, {data}{note}, {run.network}: "
        f"test accuracy {100 * run.test_accuracy:.2f} %" + (" (diverged)" if run.diverged else "")
    ]
    if run.schedule.datapath != "float32":
        total = run.trace.total
        lines.append(f"{total.saturations:,} of {total.elements:,} casts saturated, {total.wraps:,} wrapped")
    return lines + estimate_lines(energy)


def estimate_lines(energy: Estimate) -> list[str]:
    """Return energy, ratio and memory of an estimate in words."""
    spread, ratio = energy.energy_pj_per_sample, energy.energy_ratio_to_bp
    return [
        f"energy per training sample on {energy.processor}: {picojoules(spread.typical)} "
        f"({picojoules(spread.low)} .. {picojoules(spread.high)})",
        f"ratio to bp: {ratio.typical:.3f} ({ratio.low:.3f} .. {ratio.high:.3f})",
        f"MACs per sample: {energy.macs_per_sample:,}",
        f"peak memory: {kibibytes(energy.peak_activation_bytes)} of act, {kibibytes(energy.peak_live_bytes)} in all, which "
        + ("fits" if energy.fits else "does not fit")
        + f" into {kibibytes(energy.memory_bytes)}",
    ]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with nested values as columns: energy_pj_per_sample_low and so on."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}_{inner}": number for inner, number in value.items()}
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()


def energy_tables(estimate: Estimate, title: str) -> list[Table]:
    """Return the breakdown of an estimate: operations by phase, memory words by tensor class, energy of each."""
    total = estimate.energy_pj_per_sample.typical
    phases = Table(title=f"{title}: operations of one step", title_justify="left", min_width=len(title) + 24)
    kinds = list(dict.fromkeys(kind for counts in estimate.operations_per_step.values() for kind in counts))
    phases.add_column("phase")
    for name in (*kinds, "energy/sample", "share"):
        phases.add_column(name, justify="right", no_wrap=True)
    for phase, counts in estimate.operations_per_step.items():
        energy = estimate.phase_pj_per_sample[phase]
        phases.add_row(phase, *(f"{counts.get(kind, 0):,}" for kind in kinds), *_share(energy, total))
    phases.caption = "energy with the memory traffic of the phase"
    classes = Table(title=f"{title}: 64-bit words of one step".replace("64", str(estimate.word_bits)), title_justify="left")
    classes.min_width = len(title) + 28
    classes.add_column("tensor class")
    for name in ("read", "written", "energy/sample", "share"):
        classes.add_column(name, justify="right", no_wrap=True)
    for cls, moved in estimate.words_per_step.items():
        energy = estimate.class_pj_per_sample[cls]
        classes.add_row(cls, f"{moved['read']:,}", f"{moved['write']:,}", *_share(energy, total))
    classes.add_section()
    classes.add_row("all operations", "", "", *_share(estimate.class_pj_per_sample["operations"], total))
    classes.add_row("total", "", "", *_share(total, total))
    return [phases, classes]


def _share(energy: float, total: float) -> tuple[str, str]:
    return picojoules(energy), f"{100 * energy / total:.1f} %"
