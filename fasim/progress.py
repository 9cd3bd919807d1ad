"""Progress on standard error: a live bar on a terminal, a plain line a run otherwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fasim.comparison import Cell
    from fasim.training import Epoch, Run


class Progress:
    """Live progress on a terminal, one plain line a run otherwise; always on standard error."""

    def __init__(self, epochs: int, runs: int = 1) -> None:
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
        self.epochs, self.runs = epochs, 0
        self.task = self.bar.add_task("compiling kernels", total=max(1, epochs * runs))

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        """Move the bar by one epoch of a comparison."""
        figure = f"loss {epoch.test_loss:.4f}" if math.isnan(epoch.test_accuracy) else f"{100 * epoch.test_accuracy:.1f} %"
        text = f"{cell.rule} {cell.datapath} seed {cell.seed}: {figure}"
        self.bar.update(self.task, advance=1, description=text)

    def training_epoch_done(self, epoch: Epoch) -> None:
        """Move the bar by one epoch of a single run, or print a line."""
        text = f"epoch {epoch.epoch}: test {figures(epoch.test_accuracy, epoch.test_loss)}"
        if not math.isnan(epoch.train_loss):
            text += f"; training {figures(epoch.train_accuracy, epoch.train_loss)}"
        self.bar.update(self.task, completed=epoch.epoch, description=text)
        if not self.live:
            click.echo(text, err=True)

    def run_done(self, run: Run) -> None:
        """Print a line about a finished run where there is no live bar; a run may have stopped before its last epoch."""
        self.runs += 1
        self.bar.update(self.task, completed=self.runs * self.epochs)
        if not self.live:
            accuracy = run.test_accuracy
            figure = f"loss {run.test_loss:.4f}" if math.isnan(accuracy) else f"accuracy {100 * accuracy:.1f} %"
            schedule = run.schedule
            click.echo(f"{schedule.rule} {schedule.datapath} seed {run.seed}: test {figure}", err=True)


def figures(accuracy: float, loss: float) -> str:
    """Return ``accuracy 97.50 %, loss 0.0312``, or the loss alone where there are no labels."""
    return f"loss {loss:.4f}" if math.isnan(accuracy) else f"accuracy {100 * accuracy:.2f} %, loss {loss:.4f}"
