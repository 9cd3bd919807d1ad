"""``fasim calibrate``: propose the formats of a datapath and write it as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import Command, option
from fasim.errors import ConfigError
from fasim.files import user_path

if TYPE_CHECKING:
    from rich.table import Table

    from fasim.calibration import Calibration

CALIBRATION = "Calibration"


@click.command(cls=Command)
@click.option("--rule", default="dfa", help="Learning rule, see `fasim rules`, or a .py file of your own.")
@click.option("--like", default="s8", help="Datapath to start from: a preset or a TOML path.")
@click.option("--out", required=True, metavar="FILE.toml", help="Where to write the new datapath; its name is the file's.")
@option(
    CALIBRATION,
    "--bits",
    type=int,
    help="Width of whatever is as wide as the weight; other widths are at least this.",
    show_default="as in --like",
)
@option(CALIBRATION, "--epochs", default=1, help="Passes over the training set, in float32.")
@option(CALIBRATION, "--quantile", default=1.0, help="Share of the values of each tensor that must fit.")
@option(CALIBRATION, "--per-tensor", is_flag=True, help="Let tensors have formats of their own.")
@option(CALIBRATION, "--seed", default=0, help="Seed of weights, feedback and order.")
@option(CALIBRATION, "--lr", help="Learning rate: 0.001 or 2^-7.", show_default="2^-7 for sgd")
@have.DATA_OPTIONS
@have.NET
@have.NETWORK_OPTIONS
@have.STEP_OPTIONS
@have.JSON
def calibrate(**given: Any) -> None:  # noqa: ANN401
    """Train in float32 for a moment, and propose a datapath's binary points from what was seen."""
    import json

    from fasim import report
    from fasim.calibration import calibrate as run_calibration
    from fasim.comparison import default_network
    from fasim.files import ResultFolder, write_whole
    from fasim.progress import Progress

    path = _path(given["out"])
    data = read.data(given)
    settings = read.settings(given, data.task)
    network = read.network(given, given["net"] or default_network(data, settings.target), settings.loss)
    folder = ResultFolder(path.parent)
    progress = Progress(given["epochs"], compiling=not given["as_json"])
    try:
        with progress:
            result = run_calibration(
                network,
                data,
                rule=read.rule(given["rule"]),
                like=given["like"],
                name=path.stem,
                bits=given["bits"],
                epochs=given["epochs"],
                quantile=given["quantile"],
                per_tensor=given["per_tensor"],
                seed=given["seed"],
                learning_rate=None if given["lr"] is None else read.number(given["lr"]),
                settings=settings,
                on_epoch=progress.training_epoch_done,
            )
    except BaseException:
        folder.discard()
        raise
    write_whole(path, result.datapath.to_toml().encode())
    if given["as_json"]:
        content = {"datapath": str(path), "tensors": [proposal.as_dict() for proposal in result.proposals]}
        click.echo(json.dumps(content, indent=1))
        return
    report.print_table(_table(result, given["like"], Path(given["like"]).stem))
    click.echo(f"datapath: {path}; train with --datapath {path}")


def _path(text: str) -> Path:
    """Return where to write; nothing there is overwritten."""
    path = user_path(text)
    if path.suffix != ".toml":
        raise ConfigError(f"--out {text}: give a file that ends in .toml")
    if path.exists():
        raise ConfigError(f"--out {text}: is there already; give another name, or remove it")
    return path


def _table(result: Calibration, like: str, short: str) -> Table:
    """Return a row a tensor: largest value, proposed format, what is cut off at it, below it and in the given datapath."""
    from rich.table import Table

    from fasim import report

    run = result.run
    table = Table(
        title=f"{run.schedule.rule} on {run.network}, float32, {report.plural(len(run.epochs), 'epoch')}, seed {run.seed}",
        caption=f"values beyond the range of a format, in %: of the proposed one, of one bit less, of {like}",
    )
    for name in ("layer", "tensor", "table"):
        table.add_column(name, no_wrap=True)
    for name in ("largest", "format", "beyond it", "one bit less", f"{short} format", f"beyond {short}"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in result.proposals:
        shares = [f"{100 * share:.2g}" if share else "0" for share in (one.cut, one.cut_one_less, one.cut_like)]
        largest = f"{one.largest:.4g}"
        table.add_row(str(one.layer), one.name, one.table, largest, str(one.format), *shares[:2], str(one.like), shares[2])
    return table
