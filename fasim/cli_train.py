"""``fasim train``: one run, its learning curves and its files."""

from __future__ import annotations

import sys
from typing import Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import INTERRUPTED, Command, say_stopped
from fasim.errors import FasimError
from fasim.progress import Progress


@click.command(cls=Command)
@have.TRAIN_OPTIONS
def train(**given: Any) -> None:  # noqa: ANN401
    """Train one network and draw its learning curves."""
    import json

    from fasim import config, report, run_files, run_trace
    from fasim.cli_config import config_of
    from fasim.comparison import default_network
    from fasim.energy import estimate
    from fasim.files import write_whole
    from fasim.prediction import predict
    from fasim.target import check_validation, share, split
    from fasim.trainer import score
    from fasim.training import TrainingInterruptedError
    from fasim.training import train as run_training

    data = read.data(given)
    settings, plan = read.settings(given, data.task), read.plan(given)
    network = read.network(given, given["net"] or default_network(data, settings.target), settings.loss)
    rule = read.rule(given["rule"])
    held = share(given["validation"], "--validation")
    check_validation(held, data, settings.target)
    data, held_out = split(data, held, given["seed"])
    energy = estimate(network, rule, given["datapath"], settings=settings, processor=given["processor"])
    results = read.run_folder(read.out(given), "train", data.name)
    saved = config_of(network, settings, given["lr"])
    progress = Progress(given["epochs"], compiling=not given["as_json"])
    interrupted, resume = False, given["resume"] is not None
    try:
        if not resume:
            results.note(config.FILE, saved)
        watch = run_files.Watch(data, results.path, resume=resume) if given["angles"] else None
        log = run_trace.TraceLog(results.path, resume=resume) if given["trace"] else None
        with progress:
            run = run_training(
                network,
                data,
                rule=rule,
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
        say_stopped("the epochs that have finished are kept")
    except (FasimError, MemoryError, KeyboardInterrupt):
        results.discard()
        raise
    folder = results.path
    write_whole(folder / config.FILE, saved)
    held_accuracy: float | None = None
    if held_out is not None and not interrupted:
        outputs = predict(run, data, held_out.x, datapath=given["datapath"], backend=given["backend"])
        held_accuracy, _ = score(outputs, held_out.y, settings.loss)
    content = run.summary() | {
        "data": data.name,
        "standardise": given["standardise"],
        "run_folder": str(folder),
        "energy": energy.as_dict(),
        "validation": held,
        "validation_accuracy": held_accuracy,
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
        if held_accuracy is not None:
            click.echo(f"validation accuracy: {100 * held_accuracy:.2f} %, held out {100 * held:g} %")
        for picture in pictures:
            click.echo(f"picture: {picture}")
        click.echo(f"results: {folder}")
    if interrupted:
        sys.exit(INTERRUPTED)
