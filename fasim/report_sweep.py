"""What ``fasim sweep`` shows: a table, CSV and Parquet, pictures and one page for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fasim import page_sweep, plots_sweep
from fasim.errors import ConfigError
from fasim.files import ResultFolder, write_json, write_whole
from fasim.report import as_csv, kibibytes, picojoules, plural, provenance
from fasim.sweep import Group, SweepFolder, group, pareto
from fasim.sweep.point import shown
from fasim.sweep.summary import varying

# more rows than these are for the page and the files; the terminal shows those that nothing beats
MOST_ROWS = 40
REPORT = "report"


@dataclass(frozen=True)
class Report:
    """The state of a sweep: what has finished, what has failed, how much there is to do.

    Parameters
    ----------
    title : str
    axes : tuple of str
        In which points may differ.
    rows : list of dict
        A finished point each.
    groups : list of Group
        Over the seeds.
    failures : list of dict
    planned : int
        Points of the document.
    """

    title: str
    axes: tuple[str, ...]
    rows: list[dict[str, Any]]
    groups: list[Group]
    failures: list[dict[str, Any]]
    planned: int

    @property
    def columns(self) -> list[str]:
        """The settings that tell groups apart."""
        return varying(self.groups, self.axes)

    @property
    def has_labels(self) -> bool:
        """Whether there are accuracies; otherwise the loss is compared."""
        return all(each.accuracy is not None for each in self.groups)


def read_report(folder: SweepFolder) -> Report:
    """Return the state of the sweep that was run last in a folder.

    Raises
    ------
    DataError
        If there is none, or a file is damaged.
    """
    plan = folder.plan()
    names = plan["points"]
    rows = folder.rows(names)
    return Report(plan["title"], tuple(plan["axes"]), rows, group(rows), folder.failures(names), len(names))


def write_report(report: Report, folder: Path, *, parquet: bool = False) -> list[Path]:
    """Write the files of a report into ``folder/report``, each whole or not at all, and return those to look at.

    ``rows.csv`` (a line a group), ``points.csv`` (a line a point), ``summary.json``, ``pareto.png``, ``parallel.png`` and
    ``report.html``; with `parquet` the points as ``points.parquet`` too.

    Raises
    ------
    ConfigError
        If Parquet is wanted and pyarrow is not installed; nothing is written then.
    OutputError
        If a file cannot be written.
    """
    if parquet:
        _arrow()
    path = ResultFolder(folder / REPORT).path
    write_whole(path / "points.csv", as_csv([flat(row) for row in report.rows]))
    if parquet:
        write_whole(path / "points.parquet", as_parquet(report.rows))
    write_json(path / "summary.json", as_dict(report) | provenance())
    if not report.groups:
        return []
    front = pareto(report.groups)
    write_whole(path / "rows.csv", as_csv([flat(each.as_dict()) for each in report.groups]))
    write_whole(path / "pareto.png", plots_sweep.pareto_picture(report.title, report.groups, front))
    write_whole(path / "parallel.png", plots_sweep.parallel_picture(report.title, report.groups, report.columns))
    page = page_sweep.page(report.title, report.groups, report.columns, unfinished=report.planned - len(report.rows))
    write_whole(path / "report.html", page.encode())
    return [path / name for name in ("report.html", "pareto.png", "parallel.png")]


def as_dict(report: Report) -> dict[str, Any]:
    """Return a report for JSON; accuracies 0..1, energies in pJ per training sample."""
    front = pareto(report.groups)
    return {
        "title": report.title,
        "axes": list(report.axes),
        "planned": report.planned,
        "finished": len(report.rows),
        "rows": [each.as_dict() | {"pareto": place in front} for place, each in enumerate(report.groups)],
        "failures": [{"point": one["point"], "error": one["error"]} for one in report.failures],
    }


def table(report: Report) -> Table:
    """Return the table of a report, a row a group; of many groups those that no other beats."""
    front = pareto(report.groups)
    places = list(range(len(report.groups)))
    found = Table(title=report.title, title_justify="left", caption=caption(report))
    for key in report.columns:
        found.add_column(key.replace("_", " "), no_wrap=True)
    for name in (figure_name(report), "seeds", "energy/sample", "ratio to bp", "act memory", "saturated", "best"):
        found.add_column(name, justify="right", no_wrap=True)
    for place in front if len(places) > MOST_ROWS else places:
        each = report.groups[place]
        found.add_row(*(shown(each.settings[key]) for key in report.columns), *cells(each), "*" if place in front else "")
    return found


def figure_name(report: Report) -> str:
    """Return the heading of the figure that groups are compared by."""
    return "test accuracy %" if report.has_labels else "test loss"


def cells(each: Group) -> list[str]:
    """Return the figures of a group as the table writes them."""
    figures, ratio = each.figures, each.figures["energy_ratio_to_bp"]
    name, unit, digits = ("test_accuracy", 100, 1) if each.accuracy is not None else ("test_loss", 1, 4)
    mean, deviation = figures[f"{name}_mean"], figures[f"{name}_std"]
    figure = "" if mean is None else f"{unit * mean:.{digits}f}"
    figure += "" if deviation is None else f" ±{unit * deviation:.{digits}f}"
    exact = each.settings["datapath"] == "float32"
    return [
        (figure + (" diverged" if figures["diverged_seeds"] else "")).lstrip(),
        str(len(each.seeds)),
        picojoules(figures["energy_pj_per_sample"]["typical"]),
        f"{ratio['typical']:.2f} ({ratio['low']:.2f}..{ratio['high']:.2f})",
        kibibytes(figures["peak_activation_bytes"]) + ("" if figures["fits"] else " !"),
        "-" if exact else f"{100 * figures['saturation_fraction_mean']:.2g} %",
    ]


def caption(report: Report) -> str:
    """Return the line below the table: how much of the sweep is there, and what is not."""
    parts = [f"{len(report.rows)} of {plural(report.planned, 'point')} finished"]
    if report.failures:
        parts.append(f"{len(report.failures)} failed")
    processors = sorted({shown(each.settings["processor"]) for each in report.groups})
    if processors:
        parts.append(f"energy per training sample on {', '.join(processors)}")
    parts.append("* no other is at least as good for less energy")
    if len(report.groups) > MOST_ROWS:
        parts.append(f"all {len(report.groups)} rows are in rows.csv and report.html")
    if not all(each.figures["fits"] for each in report.groups):
        parts.append("! more than the processor holds: the energy is too low")
    parts += sorted({each.figures["data_note"] for each in report.groups if each.figures["data_note"]})
    return "; ".join(parts)


def failure_lines(report: Report, most: int = 10) -> list[str]:
    """Return a line for each point that failed, the first `most` of them."""
    lines = []
    for one in report.failures[:most]:
        words = ", ".join(f"{key} {shown(one[key])}" for key in report.axes if one.get(key) not in ("", None))
        lines.append(f"failed: {words}: {one['error']}")
    if len(report.failures) > most:
        lines.append(f"and {len(report.failures) - most} more, in the folder failed")
    return lines


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with nested values as columns, such as energy_pj_per_sample_low, and lists as text."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            found |= {f"{key}_{inner}": number for inner, number in value.items()}
        else:
            found[key] = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return found


def as_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return points as the bytes of a Parquet file, a column a setting and figure.

    Raises
    ------
    ConfigError
        If pyarrow is not installed.
    """
    import io

    arrow, parquet = _arrow()
    buffer = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist([flat(row) for row in rows]), buffer)
    return buffer.getvalue()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("--parquet needs pyarrow: pip install 'fasim[parquet]'; points.csv holds the same") from None
    return pyarrow, parquet
