"""``fasim sweep``: the runs of a document on many workers, and what came out of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fasim import cli_options as have
from fasim.cli_groups import INTERRUPTED, Command, option
from fasim.errors import ConfigError
from fasim.progress import Progress

if TYPE_CHECKING:
    from fasim.sweep import Pool, SweepFolder
    from fasim.sweep.grid import Sweep

FAILED = 1


@click.command(cls=Command)
@click.argument("document", required=False, metavar="[FILE]")
@have.WORKER_OPTIONS
@option(
    have.RESULTS, "--out", help="Folder of the sweep, in which it also goes on.", show_default="runs/sweep-<name of FILE>"
)
@option(have.RESULTS, "--report", metavar="FOLDER", help="Run nothing: show what is in the folder of a sweep.")
@option(have.RESULTS, "--parquet", is_flag=True, help="Write the points as Parquet too (needs pyarrow).")
@option(have.RESULTS, "--json", "as_json", is_flag=True, help="Print only JSON.")
def sweep(
    document: str | None,
    workers: int | None,
    scheduler: str,
    gpu: bool,
    threads: int,
    out: str | None,
    report: str | None,
    parquet: bool,
    as_json: bool,
) -> None:
    """Run every point of a grid or random sample on many workers, and go on where it was stopped."""
    from fasim.sweep import Pool, SweepFolder, read_sweep

    if (document is None) == (report is None):
        raise ConfigError("what to sweep: give a .toml file, or --report and the folder of a sweep")
    if report is not None:
        _show(SweepFolder(Path(report).expanduser()), parquet, as_json)
        return
    path = Path(str(document)).expanduser()
    wanted = read_sweep(path)
    pool = Pool(workers, scheduler, gpu, threads)
    folder = SweepFolder(Path(out).expanduser() if out else Path("runs") / f"sweep-{path.stem}")
    stopped = run(wanted, folder, pool, compiling=not as_json)
    failed = _show(folder, parquet, as_json)
    if stopped:
        click.echo("fasim: stopped; what has finished is kept, the same command goes on", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        click.echo(f"fasim: {failed} could not run; the same command tries them again", err=True)
        sys.exit(FAILED)


def run(wanted: Sweep, folder: SweepFolder, pool: Pool, *, compiling: bool) -> bool:
    """Run what is missing of a sweep with a line for each point, and return whether Ctrl-C ended it."""
    from dataclasses import replace

    from fasim.files import ResultFolder
    from fasim.sweep import run_points
    from fasim.sweep.engine import Done
    from fasim.sweep.point import resolve_all

    if pool.gpu:
        wanted = replace(wanted, cases=tuple({"backend": "cuda"} | case for case in wanted.cases))
    points = resolve_all(wanted.cases, wanted.axes)
    # until the report is written: it reads the plan, which another sweep in this folder would replace
    click.get_current_context().call_on_close(ResultFolder(folder.path, alone=True).release)
    folder.create(wanted, points)
    missing = sum(not folder.has(point.name) for point in points)
    if missing < len(points):
        click.echo(f"{len(points) - missing} of {len(points)} points are there already", err=True)
    with Progress(1, missing, compiling=compiling and pool.workers == 0) as progress:

        def on_done(done: Done) -> None:
            progress.say(f"{done.point.label(wanted.axes)}: {done.error and f'failed: {done.error}' or 'done'}")

        try:
            run_points(points, folder, pool, on_done)
        except KeyboardInterrupt:
            return True
    return False


def _show(folder: SweepFolder, parquet: bool, as_json: bool) -> int:  # noqa: FBT001
    """Print and write the report, and return how many points have failed."""
    from fasim import report_sweep
    from fasim.report import print_table

    found = report_sweep.read_report(folder)
    written = report_sweep.write_report(found, folder.path, parquet=parquet)
    if as_json:
        content = report_sweep.as_dict(found) | {"folder": str(folder.path)}
        click.echo(json.dumps(content, indent=1, allow_nan=False))
        return len(found.failures)
    if found.groups:
        print_table(report_sweep.table(found))
    else:
        click.echo(f"none of {found.planned} points has finished yet")
    for line in report_sweep.failure_lines(found):
        click.echo(line)
    for path in written:
        click.echo(f"{'page' if path.suffix == '.html' else 'picture'}: {path}")
    click.echo(f"results: {folder.path}")
    return len(found.failures)
