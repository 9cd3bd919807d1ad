"""The command line. No logic here: each command reads its options, calls the library, prints.

Exit codes: 0 done, 2 something given cannot be used (one line says what), 130 stopped with Ctrl-C. The library is imported
inside the commands, so that ``fasim --help`` need not wait for Numba.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fasim import __version__
from fasim.errors import ConfigError, FasimError

if TYPE_CHECKING:
    from pathlib import Path

    from fasim.comparison import Cell, Comparison
    from fasim.network import Network
    from fasim.schedule import StepSettings
    from fasim.training import Epoch, Run

INTERRUPTED = 130
SMALL_STEP = 4_000_000


class _Group(click.Group):
    """Turns an error that the user can mend into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except FasimError as error:
            click.secho(f"fasim: {error}", fg="red", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("fasim: stopped before anything had finished", err=True)
            ctx.exit(INTERRUPTED)


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


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply several option decorators, so that they appear in this order."""

    def apply(function: Any) -> Any:  # noqa: ANN401
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


NET = click.option("--net", help="Topology, such as 784-500-10; default by data set.")
SHAPE_OPTIONS = options(
    click.option("--hidden", default="tanh", help="Hidden activation: tanh, sigmoid, relu, linear."),
    click.option("--output", help="Output activation; default: what the loss needs.", show_default="by loss"),
    click.option("--init", default="torch", help="Initial weights: torch, xavier, he, zero."),
)
STEP_OPTIONS = options(
    click.option("--batch-size", default=32, help="Samples per step."),
    click.option("--loss", default="bce", help="bce (sigmoid), cross_entropy (softmax), mse."),
    click.option("--optimizer", default="sgd", help="sgd, momentum, adam."),
    click.option("--reduction", default="sum", help="Gradients of a batch: sum, mean."),
    click.option(
        "--error-scale",
        default="loss_gradient",
        help="Direct feedback carries loss_gradient or raw error.",
    ),
    click.option(
        "--feedback",
        default="uniform",
        help="uniform (bound sqrt(6 / hidden size)) or uniform:<bound>.",
    ),
)
SCHEDULE_OPTIONS = options(
    click.option("--order", default="eager", help="eager or phased."),
    click.option("--fuse", default="none", help="none or within_layer."),
    click.option("--hook", default="pre_pool", help="Where direct feedback enters a pooled layer: pre_pool, post_pool."),
)
TRAIN_OPTIONS = options(
    click.option("--data", default="digits", help="digits, mnist, fashion-mnist or a path.npz."),
    NET,
    SHAPE_OPTIONS,
    STEP_OPTIONS,
    click.option("--epochs", default=20, help="Passes over the training set."),
    click.option("--backend", default="cpu", help="cpu or reference."),
    click.option("--threads", default=0, help="Threads; 0 chooses by the size of a step."),
    click.option("--allow-unverified-data", is_flag=True, help="Accept a data file with an unknown hash."),
    click.option("--out", help="Folder for the results; default runs/<time>-..."),
    click.option("--json", "as_json", is_flag=True, help="Print only JSON."),
)


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
@click.option("--processor", default="generic_45nm", help="Preset or TOML path.")
def compare(**given: Any) -> None:  # noqa: ANN401
    """Train every rule on every datapath and set accuracy beside energy."""
    from fasim import data as sets
    from fasim import report
    from fasim.comparison import compare as run_comparison
    from fasim.comparison import default_network

    data = sets.load(given["data"], allow_unverified=given["allow_unverified_data"])
    network = _network(given, given["net"] or default_network(data))
    settings = _settings(given)
    rules, datapaths = _list(given["rules"], "rules"), _list(given["datapaths"], "datapaths")
    seeds = [_whole_number(seed, "seeds") for seed in _list(given["seeds"], "seeds")]
    folder = report.run_folder(given["out"], "compare", data.name)
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
                learning_rate=None if given["lr"] is None else _rates(given["lr"]),
                settings=settings,
                processor=given["processor"],
                backend=given["backend"],
                threads=_threads(given["threads"], network, settings),
                on_epoch=progress.epoch_done,
                on_run=on_run,
            )
    except KeyboardInterrupt:
        if not latest:
            _remove_if_empty(folder)
            raise
        comparison, interrupted = latest[0], True
        click.echo("fasim: stopped; what has finished is kept", err=True)
    except FasimError:
        _remove_if_empty(folder)
        raise
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
def train(**given: Any) -> None:  # noqa: ANN401
    """Train one network and draw its learning curves."""
    import json

    from fasim import data as sets
    from fasim import report
    from fasim.comparison import default_network
    from fasim.training import TrainingInterruptedError
    from fasim.training import train as run_training

    data = sets.load(given["data"], allow_unverified=given["allow_unverified_data"])
    network = _network(given, given["net"] or default_network(data))
    settings = _settings(given)
    folder = report.run_folder(given["out"], "train", data.name)
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
                learning_rate=None if given["lr"] is None else _number(given["lr"]),
                settings=settings,
                backend=given["backend"],
                threads=_threads(given["threads"], network, settings),
                on_epoch=progress.training_epoch_done,
            )
    except TrainingInterruptedError as stop:
        if not stop.run.epochs:
            _remove_if_empty(folder)
            raise
        run, interrupted = stop.run, True
        click.echo("fasim: stopped; the epochs that have finished are kept", err=True)
    except (FasimError, KeyboardInterrupt):
        _remove_if_empty(folder)
        raise
    report.write_run(run, data.name, folder)
    if given["as_json"]:
        click.echo(json.dumps(run.summary() | {"data": data.name, "run_folder": str(folder)}, indent=1))
    else:
        _print_run(run, data.name, folder)
    if interrupted:
        sys.exit(INTERRUPTED)


def _print_run(run: Run, data: str, folder: Path) -> None:
    total = run.trace.total
    note = f" ({run.data_note})" if run.data_note else ""
    click.echo(
        f"{run.schedule.rule} on {run.schedule.datapath}, {data}{note}, {run.network}: "
        f"test accuracy {100 * run.test_accuracy:.2f} %" + (" (diverged)" if run.diverged else "")
    )
    if run.schedule.datapath != "float32":
        click.echo(f"{total.saturations:,} of {total.elements:,} casts saturated, {total.wraps:,} wrapped")
    click.echo(f"results: {folder}")


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
        _network(given, given["net"]),
        given["rule"],
        _settings(given),
        load_datapath(given["datapath"]),
        order_by=given["order"],
        fuse_by=given["fuse"],
    )
    click.echo("\n".join(lines(schedule)))


@command.command()
@click.option("--net", required=True, help="Topology, such as 784-500-10.")
@click.option("--rule", default="dfa", help="Learning rule.")
@click.option("--datapath", default="float32", help="float32, a preset or a TOML path.")
@click.option("--processor", default="generic_45nm", help="Preset or TOML path.")
@SCHEDULE_OPTIONS
@SHAPE_OPTIONS
@STEP_OPTIONS
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def energy(**given: Any) -> None:  # noqa: ANN401
    """Count one training step and estimate its energy per sample."""
    import json

    from fasim import report
    from fasim.energy import estimate

    network = _network(given, given["net"])
    result = estimate(
        network,
        given["rule"],
        given["datapath"],
        settings=_settings(given),
        processor=given["processor"],
        order_by=given["order"],
        fuse_by=given["fuse"],
    )
    content = result.as_dict()
    if given["as_json"]:
        click.echo(json.dumps(content, indent=1))
        return
    title = f"{given['rule']} on {network}, {given['datapath']}, batch {given['batch_size']}, {given['processor']}"
    report.print_table(report.energy_table(result, title))
    spread, ratio = content["energy_pj_per_sample"], content["energy_ratio_to_bp"]
    click.echo(
        f"energy per training sample: {report.picojoules(spread['typical'])} "
        f"({report.picojoules(spread['low'])} .. {report.picojoules(spread['high'])})"
    )
    click.echo(f"ratio to bp: {ratio['typical']:.3f} ({ratio['low']:.3f} .. {ratio['high']:.3f})")
    click.echo(f"MACs per sample: {content['macs_per_sample']:,}")
    click.echo(
        f"peak memory: act {report.kibibytes(content['peak_activation_bytes'])}, "
        f"all {report.kibibytes(content['peak_live_bytes'])} - "
        + ("fits" if content["fits"] else "does not fit")
        + f" into {report.kibibytes(content['memory_bytes'])}"
    )
    click.echo(f"options: order {given['order']}, fuse {given['fuse']}, transpose free, padding counted, no zero skipping")


@command.command()
def doctor() -> None:
    """Print versions, processor, threads and folders, and run a five-second self-test."""
    from fasim.doctor import lines

    for line in lines():
        click.echo(line)


class Progress:
    """Live progress on a terminal, one plain line a run otherwise; always on standard error."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self.live = console.is_terminal
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not self.live,
        )
        self.task = self.bar.add_task("compiling kernels", total=max(1, epochs))

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        """Move the bar by one epoch of a comparison."""
        text = f"{cell.rule} {cell.datapath} seed {cell.seed}: {100 * epoch.test_accuracy:.1f} %"
        self.bar.update(self.task, advance=1, description=text)

    def training_epoch_done(self, epoch: Epoch) -> None:
        """Move the bar by one epoch of a single run, or print a line."""
        text = f"epoch {epoch.epoch}: test accuracy {100 * epoch.test_accuracy:.2f} %, loss {epoch.test_loss:.4f}"
        self.bar.update(self.task, advance=1, description=text)
        if not self.live:
            click.echo(text, err=True)

    def run_done(self, run: Run) -> None:
        """Print a line about a finished run where there is no live bar."""
        if not self.live:
            schedule = run.schedule
            text = f"{schedule.rule} {schedule.datapath} seed {run.seed}: test accuracy {100 * run.test_accuracy:.1f} %"
            click.echo(text, err=True)


OUTPUT_OF_LOSS = {"bce": "sigmoid", "cross_entropy": "softmax", "mse": "linear"}


def _network(given: dict[str, Any], topology: str) -> Network:
    from fasim.network import Network

    output = given["output"] or OUTPUT_OF_LOSS.get(given["loss"], "sigmoid")
    return Network.parse(topology, hidden=given["hidden"], output=output, init=given["init"])


def _settings(given: dict[str, Any]) -> StepSettings:
    from fasim import losses, optimizers
    from fasim.errors import unknown_name
    from fasim.schedule import StepSettings

    if given["loss"] not in losses.LOSSES:
        raise ConfigError(unknown_name("loss", given["loss"], losses.LOSSES))
    optimizers.get(given["optimizer"])
    return StepSettings(
        batch_size=given["batch_size"],
        loss=given["loss"],
        reduction=given["reduction"],
        error_scale=given["error_scale"],
        optimizer=given["optimizer"],
        feedback=given["feedback"],
        hook=given.get("hook", "pre_pool"),
    )


def _list(text: str, what: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise ConfigError(f"--{what} {text!r}: write names separated by single commas")
    return items


def _whole_number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"--{what} {text!r}: a whole number is needed, such as 0") from None


def _number(text: str) -> float:
    """Read ``0.001``, ``1e-3`` or ``2^-7``."""
    base, power, exponent = text.partition("^")
    try:
        return float(base) ** int(exponent) if power else float(text)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ConfigError(f"--lr {text!r}: write a number such as 0.001 or 2^-7") from None


def _rates(text: str) -> float | dict[str, float]:
    """Read ``2^-7`` or ``dfa=1.5e-4,fa=5e-4``; an item without a name is for all other rules."""
    from fasim import rules

    if "=" not in text:
        return _number(text)
    rates = {}
    for item in _list(text, "lr"):
        name, equals, value = item.rpartition("=")
        if equals:
            rules.get(name)
        rates[name] = _number(value)
    return rates


def _threads(given: int, network: Network, settings: StepSettings) -> int:
    """Choose one thread where a step is so small that meeting at barriers costs more than it gains."""
    if given:
        return given
    import math

    macs = settings.batch_size * sum(math.prod(segment.weight_shape) for segment in network.segments)
    return (os.cpu_count() or 1) if macs > SMALL_STEP else 1


def _remove_if_empty(folder: Any) -> None:  # noqa: ANN401
    """Remove a run folder that nothing has been written to."""
    import contextlib

    with contextlib.suppress(OSError):
        folder.rmdir()
