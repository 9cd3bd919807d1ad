"""``fasim compare``: rules on datapaths over seeds, as a table, pictures and files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import INTERRUPTED, Command, say_stopped
from fasim.errors import FasimError
from fasim.progress import Progress

if TYPE_CHECKING:
    from fasim.comparison import Comparison
    from fasim.training import Run


@click.command(cls=Command)
@have.COMPARE_OPTIONS
def compare(**given: Any) -> None:  # noqa: ANN401
    """Train every rule on every datapath and set accuracy beside energy."""
    from fasim import config, report
    from fasim.cli_config import config_of
    from fasim.comparison import compare as run_comparison
    from fasim.comparison import default_network
    from fasim.target import from_texts

    target = from_texts(given["target_accuracy"], given["validation"], given["evaluate_every"], given["stop_at_target"])
    data = read.data(given)
    settings, plan = read.settings(given, data.task), read.plan(given)
    network = read.network(given, given["net"] or default_network(data, settings.target), settings.loss)
    rules = [read.rule(item) for item in read.items(given["rules"], "rules")]
    datapaths = read.items(given["datapaths"], "datapaths")
    seeds = read.seeds(given["seeds"])
    results = read.run_folder(given["out"], "compare", data.name)
    progress = Progress(given["epochs"], len(rules) * len(datapaths) * len(seeds), compiling=not given["as_json"])
    latest: list[Comparison] = []

    def on_run(so_far: Comparison, run: Run) -> None:
        latest[:] = [so_far]
        report.write_figures(so_far, results.path)
        progress.run_done(run)

    interrupted = False
    try:
        results.note(config.FILE, config_of(network, settings, given["lr"]))
        with progress:
            comparison = run_comparison(
                data,
                network,
                rules=rules,
                datapaths=datapaths,
                epochs=given["epochs"],
                seeds=seeds,
                learning_rate=None if given["lr"] is None else read.rates(given["lr"], rules),
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
        say_stopped("what has finished is kept")
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
