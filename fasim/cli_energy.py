"""``fasim energy``: what the command line gives becomes an estimate, and an estimate becomes tables and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import Command, option, options
from fasim.errors import ConfigError, DataError, ProcessorError

if TYPE_CHECKING:
    from fasim.energy import CostOptions

COST = "Hardware"
FILES = "Files"
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
ENERGY_OPTIONS = options(
    have.ONE_STEP,
    have.PROCESSOR,
    option(COST, "--vs", "versus", default="bp", help="Rule that ratios are taken to."),
    option(COST, "--padding", default="count", help="Products with padding: count or skip."),
    option(
        COST,
        "--transpose",
        default="free",
        help="Weights read by columns: free, inefficient (one weight a word), duplicate (a second copy), row_accumulate.",
    ),
    option(COST, "--gradients", default="in_place", help="in_place (freed by their update) or deferred (kept to the end)."),
    option(COST, "--skip", default="none", help="Products with zeros that are not made: none, weights, acts, both."),
    option(COST, "--densities", metavar="RUN", help="Take the share of zeros from a run's folder (train --trace)."),
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
    from fasim import plots_energy, report, report_energy
    from fasim.energy import estimate, load_processor, time_training, workloads
    from fasim.files import write_whole
    from fasim.fixedpoint import load_datapath
    from fasim.rules import training_step

    settings = read.settings(given)
    network = read.network(given, given["net"], settings.loss)
    processor, datapath = load_processor(given["processor"]), load_datapath(given["datapath"])
    passes = {"order_by": given["order"], "fuse_by": given["fuse"]}
    common = {"settings": settings, "processor": processor, "options": _options(given), "versus": given["versus"], **passes}
    try:
        result = estimate(network, given["rule"], datapath, **common)
    except ProcessorError as error:
        schedule = training_step(network, given["rule"], settings, datapath, **passes)
        timing = time_training(schedule, processor, common["options"])
        if timing is None or given["as_json"]:
            raise
        report.print_table(report_energy.time_table(timing, settings.batch_size))
        click.echo(f"energy: {error}")
        return
    files: dict[str, bytes] = {}
    if given["csv_file"]:
        files[given["csv_file"]] = report_energy.tidy_csv(result).encode()
    if given["plot_file"]:
        base = estimate(network, given["versus"], datapath, **common)
        files[given["plot_file"]] = plots_energy.energy_bars([base, result] if base.rule != result.rule else [result])
    if given["scalesim"] or given["zigzag"]:
        schedule = training_step(network, given["rule"], settings, datapath, **passes)
        for name, write in (("scalesim", workloads.scalesim_csv), ("zigzag", workloads.zigzag_workload)):
            if given[name]:
                files[given[name]] = write(schedule).encode()
    for name, content in files.items():
        write_whole(Path(name).expanduser(), content)
    if given["as_json"]:
        click.echo(json.dumps(result.as_dict(), indent=1))
        return
    title = f"{given['rule']} on {network}, {given['datapath']}, batch {given['batch_size']}, {given['processor']}"
    for table in report_energy.energy_tables(result, title):
        report.print_table(table)
    click.echo("\n".join((*report.estimate_lines(result), *report_energy.facts(result))))
    click.echo("\n".join(report_energy.option_lines(result, processor)))
    for name in files:
        click.echo(f"written: {name}")


def _options(given: dict[str, Any]) -> CostOptions:
    from fasim.energy import CostOptions

    densities = _densities(Path(given["densities"]).expanduser()) if given["densities"] else {}
    names = ("padding", "transpose", "gradients", "skip", "dram")
    sram = _bytes(given["sram"]) if given["sram"] else 0
    return CostOptions(densities=densities, sram_bytes=sram, **{name: given[name] for name in names})


def _bytes(text: str) -> int:
    """Read ``65536``, ``64KiB`` or ``1MiB``."""
    number, unit = next(((text.removesuffix(name), size) for name, size in UNITS.items() if text.endswith(name)), (text, 1))
    if not (number.isascii() and number.isdigit() and int(number)):
        raise ConfigError(f"--sram {text!r}: write a whole number of bytes, at least 1, such as 65536, 64KiB or 1MiB")
    return int(number) * unit


def _densities(folder: Path) -> dict[str, float]:
    """Return the share of numbers other than 0 in the last epoch of a run, by tensor."""
    from fasim.run_trace import FILE, TraceLog

    if not (folder / FILE).is_file():
        raise DataError(f"--densities {folder}: no {FILE} is there; give the folder of a run of `fasim train --trace`")
    records = TraceLog(folder, resume=True).records
    last = max((record["epoch"] for record in records), default=0)
    return {record["name"]: 1 - record["zero_fraction"] for record in records if record["epoch"] == last}
