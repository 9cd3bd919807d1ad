"""``fasim run``: the papers' experiments, or those of a file, with published beside measured figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasim import cli_config
from fasim.cli_groups import INTERRUPTED, Command, say_stopped
from fasim.errors import ConfigError
from fasim.progress import Progress

if TYPE_CHECKING:
    from fasim.experiments import Case, Experiment
    from fasim.training import Epoch

RESULTS = "runs/papers.jsonl"
OUTSIDE = 1


@click.command(cls=Command)
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--list", "as_list", is_flag=True, help="Print all experiments, with the time of a run where one was measured."
)
@click.option("--show", is_flag=True, help="Print settings, their sources and the published figures; run nothing.")
@click.option(
    "--quick", is_flag=True, help="Short runs that were measured before; exit code 1 if a figure leaves its band."
)
@click.option("--case", "pattern", default="*", help="Cases alone whose name, or a word of it, is this; * and ? match any.")
@click.option("--variant", default="", help="Another reading of the paper; --show names them.", show_default="the paper's")
@click.option("--seeds", type=click.IntRange(1), help="Seeds 0 .. N-1.", show_default="the paper's number of runs")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training set.", show_default="the paper's")
@click.option("--backend", default="cpu", help="cpu, cuda (a GPU) or reference (slow).")
@click.option("--threads", default=0, help="Threads; 0 chooses by the size of a step.")
@click.option("--results", default=RESULTS, help="File of result lines: a run that has its line there is not repeated.")
@click.option(
    "--plot", metavar="FILE", help="Draw the measures over the epochs as a PNG, the published figures beside them."
)
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def run(
    name: str | None,
    as_list: bool,
    show: bool,
    quick: bool,
    pattern: str,
    variant: str,
    seeds: int | None,
    epochs: int | None,
    backend: str,
    threads: int,
    results: str,
    plot: str | None,
    as_json: bool,
) -> None:
    """Run an experiment of the papers, or a TOML file like theirs, or repeat the run of a saved configuration."""
    import json

    from fasim import experiments, report, report_experiments
    from fasim.files import user_path, write_whole
    from fasim.result_lines import done

    path = user_path(results)
    if quick:
        if (as_list, show, pattern, variant, seeds, epochs, plot) != (False, False, "*", "", None, None, None):
            raise ConfigError("--quick has cases, seed and epochs of its own; leave out the other choices")
        _quick(name, backend, threads or 1, as_json)
        return
    if as_list or name is None:
        if name is not None:
            raise ConfigError(f"--list {name}: the list has all experiments; leave out one of the two")
        if not as_list:
            raise ConfigError("which experiment: give a name of `fasim run --list`, or the path of a .toml file")
        every = [experiments.load_experiment(one) for one in experiments.names()]
        report.print_table(report_experiments.list_table(every, list(done(path).values())))
        return
    if name.endswith(".toml") and name not in experiments.names() and _is_configuration(Path(name)):
        cli_config.repeat(click.get_current_context(), name)
        return
    experiment = experiments.load_experiment(name)
    cases = experiment.select(pattern, variant)
    if show:
        _show(experiment, cases)
        return
    if experiment.cannot_run:
        raise ConfigError(f"{experiment.name} cannot run: {experiment.cannot_run}")
    stopped = _run_missing(experiment, cases, path, variant, seeds, epochs, backend, threads, not as_json)
    rows = experiments.summary(
        experiment,
        done(path).values(),
        pattern=pattern,
        variant=variant,
        epochs=epochs,
        seeds=seeds,
        backend=backend,
    )
    if plot is not None:
        from fasim.plots_experiments import experiment_curves

        write_whole(user_path(plot), experiment_curves(experiment, rows, variant))
    if as_json:
        content = {"experiment": experiment.name, "variant": variant, "results": str(path)}
        click.echo(json.dumps(content | {"rows": [row.as_dict() for row in rows]}, indent=1, allow_nan=False))
    else:
        report.print_table(report_experiments.result_table(experiment, rows, variant))
        for line in report_experiments.orders_held(experiment, rows):
            click.echo(line)
        if experiment.note:
            click.echo(experiment.note)
        if plot is not None:
            click.echo(f"picture: {plot}")
        click.echo(f"results: {path}")
    if stopped:
        sys.exit(INTERRUPTED)


def _is_configuration(path: Path) -> bool:
    """Tell a configuration, which names its command, from an experiment; a file that is neither is refused."""
    from fasim.config import COMMAND, is_configuration
    from fasim.experiments.document import KEYS
    from fasim.tomlfiles import TomlError, read_toml

    try:
        document = read_toml(path)
    except TomlError as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
    if is_configuration(document):
        return True
    if document.keys().isdisjoint(KEYS):
        raise ConfigError(
            f'{path}: neither a configuration, which says {COMMAND} = "train" or another, nor an experiment, which has '
            f"{', '.join(KEYS[:2])} and more; add what is missing"
        )
    return False


def _quick(name: str | None, backend: str, threads: int, as_json: bool) -> None:
    """Run the short runs of an experiment, or of all that have some, and exit with 1 if a figure leaves its band."""
    import json

    from fasim import experiments, report, report_experiments

    every = [experiments.load_experiment(one) for one in ([name] if name else experiments.names())]
    chosen = [experiment for experiment in every if experiment.quick is not None]
    if not chosen:
        raise ConfigError(f"{name} has no quick runs; leave out --quick")
    rows = []
    with Progress(1, sum(len(one.quick.bands) for one in chosen if one.quick), compiling=not as_json) as progress:
        for experiment in chosen:
            for row in experiments.run_quick(experiment, backend=backend, threads=threads):
                rows.append(row)
                progress.say(f"{row.experiment} {row.case}: {report_experiments.quick_figure(row)}")
    if as_json:
        click.echo(json.dumps([row.as_dict() for row in rows], indent=1, allow_nan=False))
    else:
        report.print_table(report_experiments.quick_table(rows))
    if not all(row.inside for row in rows):
        click.echo("fasim: a figure has left its band", err=True)
        sys.exit(OUTSIDE)


def _show(experiment: Experiment, cases: tuple[Case, ...]) -> None:
    from fasim import report, report_experiments

    report.print_table(report_experiments.settings_table(experiment, cases))
    report.print_table(report_experiments.cases_table(experiment, cases))
    for name, variant in experiment.variants.items():
        changed = (
            f"{key} = {report_experiments.text(setting.value)} ({setting.source})"
            for key, setting in variant.settings.items()
        )
        click.echo(f"--variant {name}: {variant.title}; {'; '.join(changed)}")
    if experiment.note:
        click.echo(experiment.note)
    if experiment.cannot_run:
        click.echo(f"cannot run: {experiment.cannot_run}")


def _run_missing(
    experiment: Experiment,
    cases: tuple[Case, ...],
    path: Path,
    variant: str,
    seeds: int | None,
    epochs: int | None,
    backend: str,
    threads: int,
    compiling: bool,
) -> bool:
    """Run what has no line yet, seed by seed, and write each line at once; return whether Ctrl-C ended it."""
    from fasim import cli_read as read
    from fasim import machine, result_lines
    from fasim.experiments import cell_of, run_case
    from fasim.experiments.running import command_of

    finished = result_lines.done(path)
    wanted = [
        (case, cell_of(experiment, case, seed, variant=variant, epochs=epochs, backend=backend))
        for seed in range(seeds or max(case.value("seeds") for case in cases))
        for case in cases
        if seed < (seeds or case.value("seeds"))
    ]
    missing = [(case, cell) for case, cell in wanted if result_lines.key(cell) not in finished]
    if not missing:
        return False
    longest = max(cell["epochs"] for _, cell in missing)
    measure = experiment.measures[0]
    machine.commit()
    elsewhere = []
    try:
        with Progress(longest, len(missing), compiling=compiling) as progress:
            for case, cell in missing:
                title = f"{experiment.name} {case.name} seed {cell['seed']}"
                count = read.threads(threads, case.network(), case.step_settings())

                def on_epoch(epoch: Epoch, title: str = title) -> None:
                    progress.step_done(f"{title}, epoch {epoch.epoch}")

                with result_lines.claimed(path, cell) as mine:
                    if not mine:
                        elsewhere.append(result_lines.key(cell))
                        continue
                    line = run_case(case, cell["seed"], epochs=epochs, backend=backend, threads=count, on_epoch=on_epoch)
                    again = {"command": command_of(cell), **machine.provenance(count)}
                    result_lines.append(path, {"cell": cell, **line, **again})
                progress.say(f"{title}: {_figure(line, measure)}, {line['seconds']:.0f} s")
    except KeyboardInterrupt:
        say_stopped("the runs that have finished are kept")
        return True
    if left := len(set(elsewhere) - result_lines.done(path).keys()):
        others = f"fasim: other processes are at {left} of these runs; the same command shows all once they are done"
        click.echo(others, err=True)
    return False


def _figure(line: dict[str, Any], measure: str) -> str:
    from fasim.experiments.keys import MEASURES
    from fasim.experiments.summary import figure

    value = figure(line, measure)
    return f"{measure.replace('_', ' ')} {'diverged' if value is None else f'{value:.4g} {MEASURES[measure]}'.rstrip()}"
