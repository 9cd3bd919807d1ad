"""The command line. No logic here: each command reads its options, calls the library, prints.

Exit codes: 0 done, 2 something given cannot be used (one line says what), 130 stopped with Ctrl-C. The library is imported
inside the commands, so that ``fasim --help`` need not wait for Numba.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from fasim import __version__
from fasim import cli_options as read
from fasim.cli_options import PROCESSOR, SCHEDULE_OPTIONS, SHAPE_OPTIONS, STEP_OPTIONS, TRAIN_OPTIONS
from fasim.errors import FasimError
from fasim.progress import Progress

if TYPE_CHECKING:
    from fasim.comparison import Comparison
    from fasim.training import Run

INTERRUPTED = 130


class _Group(click.Group):
    """Turns an error that the user can mend into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except FasimError as error:
            self._refuse(ctx, str(error))
        except click.UsageError as error:
            place = error.ctx.command_path if error.ctx else "fasim"
            self._refuse(ctx, f"{error.format_message()} See {place} --help")
        except OSError as error:
            self._refuse(ctx, f"cannot write the output: {error.strerror}")
        except MemoryError as error:
            self._refuse(ctx, f"not enough memory ({error}); use a smaller network or batch")
        except KeyboardInterrupt:
            click.echo("fasim: stopped before anything had finished", err=True)
            ctx.exit(INTERRUPTED)

    @staticmethod
    def _refuse(ctx: click.Context, line: str) -> None:
        click.secho(f"fasim: {line}", fg="red", err=True)
        ctx.exit(2)


def main() -> None:
    """Entry point of the console script."""
    command()


@click.group(
    cls=_Group,
    name="fasim",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="fasim")
def command() -> None:
    """Compare learning rules for chips that learn: accuracy, energy and memory, in float and fixed point."""


@command.command()
@TRAIN_OPTIONS
@click.option("--rules", default="bp,fa,dfa,sdfa,drtp", help="Learning rules, comma-separated.")
@click.option("--datapaths", default="float32,s16,s8", help="float32, presets or TOML paths, comma-separated.")
@click.option("--seeds", default="0,1,2", help="Seeds, comma-separated.")
@click.option(
    "--lr",
    help="Learning rate: 0.001, 2^-7 or by rule dfa=1.5e-4,fa=5e-4.",
    show_default="2^-7 for sgd",
)
@PROCESSOR
def compare(**given: Any) -> None:  # noqa: ANN401
    """Train every rule on every datapath and set accuracy beside energy."""
    from fasim import data as sets
    from fasim import report
    from fasim.comparison import compare as run_comparison
    from fasim.comparison import default_network

    data = sets.load(given["data"], allow_unverified=given["allow_unverified_data"])
    network = read.network(given, default_network(data) if given["net"] is None else given["net"])
    settings = read.settings(given)
    rules, datapaths = read.items(given["rules"], "rules"), read.items(given["datapaths"], "datapaths")
    seeds = [read.whole_number(seed, "seeds") for seed in read.items(given["seeds"], "seeds")]
    results = report.result_folder(given["out"], "compare", data.name)
    progress = Progress(len(rules) * len(datapaths) * len(seeds) * given["epochs"])
    latest: list[Comparison] = []

    def on_run(so_far: Comparison, run: Run) -> None:
        latest[:] = [so_far]
        progress.run_done(run)

    interrupted = False
    try:
        with progress:
            comparison = run_comparison(
                data,
                network,
                rules=rules,
                datapaths=datapaths,
                epochs=given["epochs"],
                seeds=seeds,
                learning_rate=None if given["lr"] is None else read.rates(given["lr"]),
                settings=settings,
                processor=given["processor"],
                backend=given["backend"],
                threads=read.threads(given["threads"], network, settings),
                on_epoch=progress.epoch_done,
                on_run=on_run,
            )
    except KeyboardInterrupt:
        if not latest:
            results.discard()
            raise
        comparison, interrupted = latest[0], True
        click.echo("fasim: stopped; what has finished is kept", err=True)
    except (FasimError, MemoryError):
        if latest:
            report.write_comparison(latest[0], results.path)
        results.discard()
        raise
    folder = results.path
    report.write_comparison(comparison, folder)
    if given["as_json"]:
        click.echo(report.as_json(comparison, folder))
    else:
        report.print_table(report.comparison_table(comparison, report.line_width()))
        click.echo(f"picture: {folder / 'accuracy_energy.png'}")
        click.echo(f"results: {folder}")
    if interrupted:
        sys.exit(INTERRUPTED)


@command.command()
@TRAIN_OPTIONS
@click.option("--rule", default="dfa", help="Learning rule.")
@click.option("--datapath", default="float32", help="float32, a preset or a TOML path.")
@click.option("--seed", default=0, help="Seed of weights, feedback, order and rounding.")
@click.option("--lr", help="Learning rate: 0.001 or 2^-7.", show_default="2^-7 for sgd")
@PROCESSOR
def train(**given: Any) -> None:  # noqa: ANN401
    """Train one network and draw its learning curves."""
    import json

    from fasim import data as sets
    from fasim import report
    from fasim.comparison import default_network
    from fasim.energy import estimate
    from fasim.training import TrainingInterruptedError
    from fasim.training import train as run_training

    data = sets.load(given["data"], allow_unverified=given["allow_unverified_data"])
    network = read.network(given, default_network(data) if given["net"] is None else given["net"])
    settings = read.settings(given)
    energy = estimate(network, given["rule"], given["datapath"], settings=settings, processor=given["processor"])
    results = report.result_folder(given["out"], "train", data.name)
    progress = Progress(given["epochs"])
    interrupted = False
    try:
        with progress:
            run = run_training(
                network,
                data,
                rule=given["rule"],
                datapath=given["datapath"],
                epochs=given["epochs"],
                seed=given["seed"],
                learning_rate=None if given["lr"] is None else read.number(given["lr"]),
                settings=settings,
                backend=given["backend"],
                threads=read.threads(given["threads"], network, settings),
                on_epoch=progress.training_epoch_done,
            )
    except TrainingInterruptedError as stop:
        if not stop.run.epochs:
            results.discard()
            raise
        run, interrupted = stop.run, True
        click.echo("fasim: stopped; the epochs that have finished are kept", err=True)
    except (FasimError, MemoryError, KeyboardInterrupt):
        results.discard()
        raise
    folder = results.path
    content = run.summary() | {"data": data.name, "run_folder": str(folder), "energy": energy.as_dict()}
    report.write_run(run, content, folder)
    if given["as_json"]:
        click.echo(json.dumps(content, indent=1))
    else:
        click.echo("\n".join(report.run_lines(run, energy, data.name)))
        click.echo(f"picture: {folder / 'learning_curves.png'}")
        click.echo(f"results: {folder}")
    if interrupted:
        sys.exit(INTERRUPTED)


@command.command()
@click.option("--net", required=True, help="Topology, such as 784-500-10 or 28x28x1-32c5-2p-1000-10.")
@click.option("--rule", default="dfa", help="Learning rule.")
@click.option("--datapath", default="float32", help="float32, a preset or a TOML path.")
@SCHEDULE_OPTIONS
@SHAPE_OPTIONS
@STEP_OPTIONS
def show(**given: Any) -> None:  # noqa: ANN401
    """Print the schedule of one training step: every op, what it waits for, what must be kept."""
    from fasim.fixedpoint import load_datapath
    from fasim.rules import training_step
    from fasim.schedule.show import lines

    schedule = training_step(
        read.network(given, given["net"]),
        given["rule"],
        read.settings(given),
        load_datapath(given["datapath"]),
        order_by=given["order"],
        fuse_by=given["fuse"],
    )
    click.echo("\n".join(lines(schedule)))


@command.command()
@click.option("--net", required=True, help="Topology, such as 784-500-10.")
@click.option("--rule", default="dfa", help="Learning rule.")
@click.option("--datapath", default="float32", help="float32, a preset or a TOML path.")
@PROCESSOR
@SCHEDULE_OPTIONS
@SHAPE_OPTIONS
@STEP_OPTIONS
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def energy(**given: Any) -> None:  # noqa: ANN401
    """Count one training step and estimate its energy per sample."""
    import json

    from fasim import report
    from fasim.energy import estimate

    network = read.network(given, given["net"])
    result = estimate(
        network,
        given["rule"],
        given["datapath"],
        settings=read.settings(given),
        processor=given["processor"],
        order_by=given["order"],
        fuse_by=given["fuse"],
    )
    content = result.as_dict()
    if given["as_json"]:
        click.echo(json.dumps(content, indent=1))
        return
    title = f"{given['rule']} on {network}, {given['datapath']}, batch {given['batch_size']}, {given['processor']}"
    for table in report.energy_tables(result, title):
        report.print_table(table)
    click.echo("\n".join(report.estimate_lines(result)))
    click.echo(f"options: order {given['order']}, fuse {given['fuse']}, transpose free, padding counted, no zero skipping")


@command.command()
def doctor() -> None:
    """Print versions, CPU, backends and the data folder, and test that the kernels give the right bits here."""
    from fasim.doctor import lines

    for line in lines():
        click.echo(line)
