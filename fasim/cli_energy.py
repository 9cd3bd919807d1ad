"""``fasim energy``: what the command line gives becomes an estimate, and an estimate becomes tables and files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import Command, option, options
from fasim.errors import ConfigError, OutputError, ProcessorError
from fasim.files import user_path, write_whole

if TYPE_CHECKING:
    from fasim.energy import CostOptions, Estimate
    from fasim.fixedpoint import Datapath
    from fasim.network import Network
    from fasim.schedule import Schedule, StepSettings

COST = "Hardware"
FILES = "Files"
FILE_OPTIONS = {"csv_file": "--csv", "plot_file": "--plot", "scalesim": "--scalesim", "zigzag": "--zigzag"}
MAX_DIGITS = 16
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
ENERGY_OPTIONS = options(
    have.ONE_STEP,
    have.PROCESSOR,
    option(COST, "--vs", "versus", default="bp", help="Rule that ratios are taken to, or a .py file."),
    option(COST, "--padding", default="count", help="Products with padding: count or skip."),
    option(
        COST,
        "--transpose",
        default="free",
        help="Weights read by columns: free, inefficient (one weight a word), duplicate (a second copy), row_accumulate.",
    ),
    option(COST, "--gradients", default="in_place", help="in_place (freed by their update) or deferred (kept to the end)."),
    option(COST, "--skip", default="none", help="Products with zeros that are not made: none, weights, acts, both."),
    option(COST, "--densities", metavar="RUN", help="Take the share of zeros from a run of this step (train --trace)."),
    option(COST, "--densities-vs", metavar="RUN", help="The same of the rule that ratios are taken to."),
    option(COST, "--dram", default="", help="Technology of external memory.", show_default="first of the processor"),
    option(
        COST,
        "--sram",
        help="Size of the SRAM, such as 64KiB; energies by its root.",
        show_default="the processor's",
    ),
    have.JSON,
    option(FILES, "--csv", "csv_file", help="Write all lines of the estimate to this file."),
    option(FILES, "--plot", "plot_file", help="Write stacked bars of both rules to this PNG."),
    option(FILES, "--scalesim", help="Write the matrix products as a SCALE-Sim topology to this CSV."),
    option(FILES, "--zigzag", help="Write the matrix products as a ZigZag workload to this YAML."),
)


@click.command(cls=Command)
@ENERGY_OPTIONS
def energy(**given: Any) -> None:  # noqa: ANN401
    """Count one training step and estimate its energy per sample, its memory and its time."""
    from fasim import report, report_energy
    from fasim.energy import estimate, load_processor, time_training
    from fasim.fixedpoint import load_datapath
    from fasim.rules import training_step

    paths = _paths(given)
    settings = read.settings(given)
    network = read.network(given, given["net"], settings.loss)
    given |= {"rule": read.rule(given["rule"]), "versus": read.rule(given["versus"])}
    processor, datapath = load_processor(given["processor"]), load_datapath(given["datapath"])
    options, versus_options = _options(given, network, datapath, settings)
    passes = {"order_by": given["order"], "fuse_by": given["fuse"]}
    schedule = training_step(network, given["rule"], settings, datapath, **passes)
    price = partial(estimate, network, datapath=datapath, settings=settings, processor=processor, **passes)
    results: list[Estimate] = []
    try:
        results.append(price(rule=given["rule"], options=options, versus=given["versus"], versus_options=versus_options))
        if "plot_file" in paths and given["versus"] != given["rule"]:
            results.insert(0, price(rule=given["versus"], options=versus_options, versus=given["versus"]))
    except ProcessorError as error:
        timing = time_training(schedule, processor, options)
        if timing is None or given["as_json"]:
            raise
        if unpriced := [FILE_OPTIONS[name] for name in ("csv_file", "plot_file") if name in paths]:
            raise ProcessorError(f"{unpriced[0]}: {error}") from None
        _write(_contents(paths, schedule, results))
        report.print_table(report_energy.time_table(timing, settings.batch_size))
        click.echo(f"energy: {error}")
    else:
        _write(_contents(paths, schedule, results))
        result = results[-1]
        if given["as_json"]:
            click.echo(json.dumps(result.as_dict(), indent=1))
            return
        title = f"{given['rule']} on {network}, {given['datapath']}, batch {given['batch_size']}, {given['processor']}"
        for table in report_energy.energy_tables(result, title):
            report.print_table(table)
        click.echo("\n".join((*report.estimate_lines(result), *report_energy.facts(result))))
        click.echo("\n".join(report_energy.option_lines(result, processor, versus_options)))
    for name in paths:
        click.echo(f"written: {given[name]}")


def _paths(given: dict[str, Any]) -> dict[str, Path]:
    """Return where files are to be written, by option; what could not be written is refused before anything is computed."""
    paths: dict[str, Path] = {}
    for name, flag in FILE_OPTIONS.items():
        text = given[name]
        if text is None:
            continue
        if not text.strip():
            raise OutputError(f"{flag} {text!r}: give the name of a file, or leave the option out")
        path = user_path(text)
        if not path.parent.is_dir():
            raise OutputError(f"{flag} {text}: no such folder {path.parent}; make it, or choose another")
        if path.is_dir():
            raise OutputError(f"{flag} {text}: this is a folder; give the name of a file")
        for other, taken in paths.items():
            if taken.resolve() == path.resolve():
                raise OutputError(f"{FILE_OPTIONS[other]} and {flag} name the same file {text}; give each its own")
        paths[name] = path
    return paths


def _contents(paths: dict[str, Path], schedule: Schedule, results: list[Estimate]) -> dict[Path, bytes]:
    """Return what is to be written where; `results` ends with the estimate that was asked for."""
    from fasim import plots_energy, report_energy
    from fasim.energy import workloads

    make: dict[str, Callable[[], bytes]] = {
        "csv_file": lambda: report_energy.tidy_csv(results[-1]).encode(),
        "plot_file": lambda: plots_energy.energy_bars(results),
        "scalesim": lambda: workloads.scalesim_csv(schedule).encode(),
        "zigzag": lambda: workloads.zigzag_workload(schedule).encode(),
    }
    return {path: make[name]() for name, path in paths.items()}


def _write(files: dict[Path, bytes]) -> None:
    """Write all files or none: none takes its name before the contents of all are on the disk."""
    # what a link leads to is written; a pipe or a device takes no other name
    files = {path.resolve() if path.is_symlink() else path: content for path, content in files.items()}
    for path in [path for path in files if path.exists() and not path.is_file()]:
        write_whole(path, files.pop(path))
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in files}
    done: list[Path] = []
    at = None
    try:
        for at, content in files.items():
            parts[at].write_bytes(content)
        for at, part in parts.items():
            part.replace(at)
            done.append(at)
    except OSError as error:
        for path in done:
            path.unlink()
        raise OutputError(f"cannot write {at}: {error.strerror}; none of the files is written") from error
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _options(
    given: dict[str, Any], network: Network, datapath: Datapath | None, settings: StepSettings
) -> tuple[CostOptions, CostOptions]:
    """Return what is asked of the hardware for the rule, and for the rule that it is held against."""
    from fasim.energy import CostOptions
    from fasim.measured_zeros import measured_densities

    rule, versus = given["rule"], given["versus"]
    names = ("padding", "transpose", "gradients", "skip", "dram")
    chosen = CostOptions(sram_bytes=_bytes(given["sram"]) if given["sram"] else 0, **{name: given[name] for name in names})
    of_run, of_versus = given["densities"], given["densities_vs"]
    if of_run is None:
        if of_versus is not None:
            raise ConfigError(f"--densities-vs {of_versus} is for --densities; give that too, or leave it out")
        if chosen.skip != "none":
            raise ConfigError(
                f"--skip {chosen.skip} skips nothing where no zeros are known; give --densities with the folder of a run "
                "of `fasim train --trace`"
            )
        return chosen, chosen
    if of_versus is None and versus != rule:
        raise ConfigError(
            f"--densities {of_run} are zeros of {rule}, and those of {versus} are others; give --densities-vs with a run "
            f"of {versus}, or --vs {rule}"
        )
    steps = [("--densities", of_run, rule), ("--densities-vs", of_run if of_versus is None else of_versus, versus)]
    found = [
        replace(
            chosen,
            densities=measured_densities(user_path(folder), network, str(name), datapath, settings, what=flag),
        )
        for flag, folder, name in steps
    ]
    return found[0], found[1]


def _bytes(text: str) -> int:
    """Read ``65536``, ``64KiB`` or ``1MiB``."""
    number, unit = next(((text.removesuffix(name), size) for name, size in UNITS.items() if text.endswith(name)), (text, 1))
    if not (number.isascii() and number.isdigit() and len(number) < MAX_DIGITS and int(number)):
        raise ConfigError(f"--sram {text[:40]!r}: write a whole number of bytes, at least 1, such as 65536, 64KiB or 1MiB")
    return int(number) * unit
