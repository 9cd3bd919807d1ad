"""``fasim export``: what the command line gives becomes a start, and a start becomes files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import Command, option, options
from fasim.errors import ConfigError

if TYPE_CHECKING:
    from fasim.export import Start

# a configuration says a thing as the command line does
SAID = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
# what may be said beside a run's folder: where its data and datapath lie, and what is wanted
BESIDE_RUN = ("run", "form", "steps", "out", "data", "standardise", "allow_unverified_data", "datapath", "rule")

EXPORT_OPTIONS = options(
    click.argument("run", required=False),
    click.option("--to", "form", required=True, help="hex (golden vectors), npz (the state) or qonnx (inference)."),
    click.option("--steps", default=3, help="Training steps of golden vectors."),
    option(have.RUN, "--out", help="Folder, a new one; default runs/<time>-export-<data>."),
    have.RULE_AND_DATAPATH,
    click.option("--seed", default=0, help="Seed of weights, feedback, order, dropout, augmentation and rounding."),
    click.option("--lr", help=have.RATE, show_default="2^-7 for sgd"),
    *(have.DATA_OPTIONS, have.NET, have.NETWORK_OPTIONS, have.STEP_OPTIONS, have.PLAN_OPTIONS),
)


@click.command(cls=Command)
@EXPORT_OPTIONS
@click.pass_context
def export(context: click.Context, **given: Any) -> None:  # noqa: ANN401
    """Write a run for hardware or other programs: RUN is a folder with a checkpoint, else a fresh run is set up."""
    from fasim import export as exports
    from fasim import report
    from fasim.progress import Compiling

    form = exports.check_form(given["form"])
    start, name = _from_run(context, given) if given["run"] else _fresh(given)
    results = report.result_folder(given["out"], "export", name)
    try:
        with exports.whole_folder(results.path) as folder, Compiling():
            if form == "hex":
                exports.write_vectors(folder, start, given["steps"])
            elif form == "npz":
                exports.write_npz(folder, start)
            else:
                exports.write_qonnx(folder, start)
            size = sum(path.is_file() for path in folder.rglob("*"))
    except BaseException:
        results.discard()
        raise
    click.echo(f"{form}: {results.path} ({size} file{'s' if size > 1 else ''})")


def _from_run(context: click.Context, given: dict[str, Any]) -> tuple[Start, str]:
    """Return the start of a run's folder, and the name of its data."""
    from fasim import export as exports
    from fasim.fixedpoint import load_datapath

    said = {name for name in given if context.get_parameter_source(name) in SAID}
    for name in sorted(said.difference(BESIDE_RUN)):
        raise ConfigError(f"--{name.replace('_', '-')}: {given['run']} says that already; leave the option out")
    needs_data = given["form"] == "hex"
    start = exports.from_checkpoint(
        Path(given["run"]),
        data=read.data(given) if needs_data and "data" in said else None,
        datapath=load_datapath(given["datapath"]) if "datapath" in said else None,
        rule=read.rule(given["rule"]) if "rule" in said else None,
        needs_data=needs_data,
    )
    return start, Path(given["run"]).name


def _fresh(given: dict[str, Any]) -> tuple[Start, str]:
    """Return the start of a fresh run, and the name of its data."""
    from fasim import export as exports
    from fasim.comparison import default_network
    from fasim.fixedpoint import load_datapath

    data = read.data(given)
    settings = read.settings(given, data.task)
    start = exports.fresh(
        read.network(given, given["net"] or default_network(data, settings.target), settings.loss),
        data,
        rule=read.rule(given["rule"]),
        datapath=load_datapath(given["datapath"]),
        seed=given["seed"],
        learning_rate=None if given["lr"] is None else read.number(given["lr"]),
        settings=settings,
        plan=read.plan(given),
    )
    return start, data.name
