"""The command line. No logic here: each command reads its options, calls the library, prints.

Exit codes: 0 done, 2 something given cannot be used (one line says what), 130 stopped with Ctrl-C. The library is imported
inside the commands, so that ``fasim --help`` need not wait for Numba.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from fasim import __version__, cli_format
from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_calibrate import calibrate
from fasim.cli_energy import energy
from fasim.cli_export import export
from fasim.cli_groups import INTERRUPTED, Group
from fasim.errors import FasimError
from fasim.progress import Progress

if TYPE_CHECKING:
    from fasim.comparison import Comparison
    from fasim.training import Run


def main() -> None:
    """Entry point of the console script."""
    command()


@click.group(
    cls=Group,
    name="fasim",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="fasim")
def command() -> None:
    """Compare learning rules for chips that learn: accuracy, energy and memory, in float and fixed point."""


command.add_command(export)


command.add_command(calibrate)


command.add_command(energy)


@command.command()
@have.COMPARE_OPTIONS
def compare(**given: Any) -> None:  # noqa: ANN401
    """Train every rule on every datapath and set accuracy beside energy."""
    from fasim import report
    from fasim.comparison import compare as run_comparison
    from fasim.comparison import default_network
    from fasim.target import from_texts

    target = from_texts(given["target_accuracy"], given["validation"], given["evaluate_every"], given["stop_at_target"])
    data = read.data(given)
    settings, plan = read.settings(given, data.task), read.plan(given)
    network = read.network(given, given["net"] or default_network(data, settings.target), settings.loss)
    rules, datapaths = read.items(given["rules"], "rules"), read.items(given["datapaths"], "datapaths")
    seeds = [read.whole_number(seed, "seeds") for seed in read.items(given["seeds"], "seeds")]
    results = report.result_folder(given["out"], "compare", data.name)
    progress = Progress(given["epochs"], len(rules) * len(datapaths) * len(seeds))
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
                plan=plan,
                processor=given["processor"],
                backend=given["backend"],
                threads=read.threads(given["threads"], network, settings),
                on_epoch=progress.epoch_done,
                on_run=on_run,
                target=target,
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
    pictures = report.write_comparison(comparison, folder)
    if given["as_json"]:
        click.echo(report.as_json(comparison, folder))
    else:
        report.print_table(report.comparison_table(comparison, report.line_width()))
        for picture in pictures:
            click.echo(f"picture: {picture}")
        click.echo(f"results: {folder}")
    if interrupted:
        sys.exit(INTERRUPTED)


@command.command()
@have.TRAIN_OPTIONS
def train(**given: Any) -> None:  # noqa: ANN401
    """Train one network and draw its learning curves."""
    import json

    from fasim import report, run_files, run_trace
    from fasim.comparison import default_network
    from fasim.energy import estimate
    from fasim.training import TrainingInterruptedError
    from fasim.training import train as run_training

    data = read.data(given)
    settings, plan = read.settings(given, data.task), read.plan(given)
    network = read.network(given, given["net"] or default_network(data, settings.target), settings.loss)
    energy = estimate(network, given["rule"], given["datapath"], settings=settings, processor=given["processor"])
    results = report.result_folder(read.out(given), "train", data.name)
    progress = Progress(given["epochs"])
    interrupted, resume = False, given["resume"] is not None
    try:
        watch = run_files.Watch(data, results.path, resume=resume) if given["angles"] else None
        log = run_trace.TraceLog(results.path, resume=resume) if given["trace"] else None
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
                plan=plan,
                backend=given["backend"],
                threads=read.threads(given["threads"], network, settings),
                on_epoch=progress.training_epoch_done,
                after_epoch=run_trace.after_each(watch, log),
                folder=results.path if given["checkpoint"] or resume else None,
                resume=resume,
                trace=given["trace"],
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
    content = run.summary() | {
        "data": data.name,
        "standardise": given["standardise"],
        "run_folder": str(folder),
        "energy": energy.as_dict(),
    }
    pictures = run_files.write(
        run,
        content,
        folder,
        data,
        datapath=given["datapath"],
        backend=given["backend"],
        watch=watch,
        finished=not interrupted,
    )
    if log is not None:
        pictures.append(log.draw(run_files.title(run, data)))
    if given["as_json"]:
        click.echo(json.dumps(content, indent=1))
    else:
        if log is not None:
            report.print_table(run_trace.trace_table(log.records))
        click.echo("\n".join(report.run_lines(run, energy, data.name)))
        for picture in pictures:
            click.echo(f"picture: {picture}")
        click.echo(f"results: {folder}")
    if interrupted:
        sys.exit(INTERRUPTED)


@command.command()
@have.ONE_STEP
def show(**given: Any) -> None:  # noqa: ANN401
    """Print the schedule of one training step: every op, what it waits for, what must be kept."""
    from fasim.fixedpoint import load_datapath
    from fasim.rules import training_step
    from fasim.schedule.show import lines

    settings = read.settings(given)
    schedule = training_step(
        read.network(given, given["net"], settings.loss),
        given["rule"],
        settings,
        load_datapath(given["datapath"]),
        order_by=given["order"],
        fuse_by=given["fuse"],
    )
    click.echo("\n".join(lines(schedule)))


@command.command()
def rules() -> None:
    """Print all learning rules, their sources and what they can train."""
    from fasim import report
    from fasim.catalogue import rules_table

    report.print_table(rules_table())


@command.command()
def feedback() -> None:
    """Print the words of a feedback family, for --feedback, and where each comes from."""
    from fasim import report
    from fasim.catalogue import feedback_tables

    for table in feedback_tables():
        report.print_table(table)


@command.command()
def doctor() -> None:
    """Print versions, CPU, backends and the data folder, and test that the kernels give the right bits here."""
    from fasim.doctor import lines

    for line in lines():
        click.echo(line)


command.add_command(cli_format.command)
