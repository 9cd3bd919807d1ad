"""Progress on standard error: a live bar on a terminal, a plain line a run otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fasim.comparison import Cell
    from fasim.training import Epoch, Run


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
