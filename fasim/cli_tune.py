"""``fasim tune``: learning rate and feedback scale of every rule on every datapath, with one budget for all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import INTERRUPTED, Command, option
from fasim.errors import ConfigError

if TYPE_CHECKING:
    from fasim.sweep.search import Search

SEARCH = "Search"


@click.command(cls=Command)
@click.option("--rules", default="bp,fa,dfa,sdfa,drtp", help="Learning rules, comma-separated; see `fasim rules`.")
@click.option("--datapaths", default="float32,s8", help="float32, presets or TOML paths, comma-separated.")
@click.option("--seeds", default="0,1,2", help="Seeds, comma-separated; every trial is run with each.")
@option(SEARCH, "--trials", default=16, help="Trials for each rule on each datapath.")
@option(SEARCH, "--lr-range", default="2^-11..2^-3", help="Learning rates, searched on a logarithmic axis.")
@option(SEARCH, "--scale-range", default="0.25..4", help="Factors of all feedback, likewise; 1..1 searches none.")
@option(SEARCH, "--validation", default="0.1", help="Share of the training set that is held out to choose by.")
@option(SEARCH, "--search-seed", default=0, help="Seed of the trials.")
@have.DATA_OPTIONS
@have.NET
@have.NETWORK_OPTIONS
@have.STEP_OPTIONS
@have.PLAN_OPTIONS
@have.WORKER_OPTIONS
@have.PROCESSOR
@option(have.RESULTS, "--out", help="Folder of the search, in which it also goes on.", show_default="runs/tune-<data>")
@option(have.RESULTS, "--json", "as_json", is_flag=True, help="Print only JSON.")
def tune(**given: Any) -> None:  # noqa: ANN401
    """Search learning rate and feedback scale for every rule and datapath, with the same number of trials for each."""
    from fasim import report_sweep, report_tune
    from fasim.cli_sweep import run
    from fasim.files import write_whole
    from fasim.report import print_table
    from fasim.sweep import Pool, SweepFolder
    from fasim.sweep.search import best, best_configurations, best_document, sweep_of

    if given["allow_unverified_data"]:
        raise ConfigError("--allow-unverified-data: a search reads official data or files of your own; leave it out")
    search = search_of(given)
    pool = Pool(given["workers"], given["scheduler"], given["gpu"], given["threads"])
    folder = SweepFolder(Path(given["out"] or Path("runs") / f"tune-{Path(given['data']).stem}").expanduser())
    stopped = run(sweep_of(search), folder, pool, compiling=not given["as_json"])
    report = report_sweep.read_report(folder)
    report_sweep.write_report(report, folder.path)
    found = best(search, report.rows)
    path = folder.path / report_sweep.REPORT / "best.toml"
    trainings = {path.with_name(f"train-{name}.toml"): text for name, text in best_configurations(search, found).items()}
    if found:
        write_whole(path, best_document(search, found).encode())
    for one, text in trainings.items():
        write_whole(one, text.encode())
    if given["as_json"]:
        content = report_tune.as_dict(search, found) | {"folder": str(folder.path), "best": str(path) if found else None}
        content["best_configurations"] = [str(one) for one in trainings]
        click.echo(json.dumps(content, indent=1, allow_nan=False))
    else:
        if found:
            print_table(report_tune.table(search, found))
        for line in [*report_tune.warnings(search, found), *report_sweep.failure_lines(report)]:
            click.echo(line)
        for line in report_tune.commands(search, found):
            click.echo(f"compare, feedback not scaled: {line}")
        if found:
            click.echo(f"best settings, feedback scales too, for `fasim sweep`: {path}")
        for one in trainings:
            click.echo(f"one of them, for `fasim train --config`: {one}")
        click.echo(f"results: {folder.path}")
    if stopped:
        click.echo("fasim: stopped; what has finished is kept, the same command goes on", err=True)
        sys.exit(INTERRUPTED)
    if report.failures:
        click.echo(f"fasim: {len(report.failures)} could not run; the same command tries them again", err=True)
        sys.exit(1)


def search_of(given: dict[str, Any]) -> Search:
    """Return the search that the options give."""
    from fasim.sweep.keys import KEYS, checked
    from fasim.sweep.search import Search
    from fasim.target import share

    settings = {key: given[key] for key in KEYS if given.get(key) is not None and given[key] != KEYS[key]}
    if "feedback_rate" in settings:
        settings["feedback_rate"] = read.number(settings["feedback_rate"], "feedback-rate")
    settings["validation"] = share(given["validation"], "--validation")
    if not 0 < settings["validation"] < 1:
        raise ConfigError(
            f"--validation {given['validation']}: a search needs some samples to choose by and some to train on"
        )
    return Search(
        tuple(read.items(given["rules"], "rules")),
        tuple(read.items(given["datapaths"], "datapaths")),
        {key: checked(key, value) for key, value in settings.items()},
        tuple(read.whole_number(seed, "seeds") for seed in read.items(given["seeds"], "seeds")),
        given["trials"],
        _range(given["lr_range"], "lr-range"),
        _range(given["scale_range"], "scale-range"),
        given["search_seed"],
    )


def _range(text: str, what: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    if not dots:
        raise ConfigError(f"--{what} {text!r}: write two numbers and .. between them, such as 2^-11..2^-3")
    return read.number(low, what), read.number(high, what)
