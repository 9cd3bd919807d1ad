"""Progress on standard error: a live bar on a terminal, a plain line a run otherwise.

The first run on a machine compiles kernels, for up to a minute; this is said too, and that it happens once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fasim.comparison import Cell
    from fasim.training import Epoch, Run


COMPILING = "compiling kernels for this machine, only the first time"


class Compiling:
    """Says while it is entered that kernels are compiled: on a terminal how many so far, otherwise one plain line.

    Parameters
    ----------
    show : callable, optional
        Shows a line in place of the one before, where there is a live display already; otherwise one of its own appears
        with the first kernel.
    """

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self.count, self._show, self._open = 0, show, ExitStack()

    def __enter__(self) -> Compiling:
        from fasim.kernels.compile import compilations

        self._open.enter_context(compilations(self.kernel_started))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def kernel_started(self, name: str) -> None:  # noqa: ARG002
        """Count one more."""
        self.count += 1
        if self._show is None and self.count == 1:
            self._show = self._own_display()
        if self._show is not None:
            self._show(f"{COMPILING}: {self.count} so far")

    def _own_display(self) -> Callable[[str], None] | None:
        from rich.console import Console

        console = Console(stderr=True)
        if not console.is_terminal:
            click.echo(COMPILING, err=True)
            return None
        return self._open.enter_context(console.status("")).update


class Progress:
    """Live progress on a terminal, one plain line a run otherwise; always on standard error.

    Parameters
    ----------
    epochs, runs : int
        What there is to do.
    compiling : bool
        Say too that kernels are compiled.
    """

    def __init__(self, epochs: int, runs: int = 1, *, compiling: bool = True) -> None:
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
        self.task = self.bar.add_task("starting", total=max(1, epochs * runs))
        self._compiling = Compiling(self._describe if self.live else None) if compiling else nullcontext()
        self._open = ExitStack()

    def __enter__(self) -> Progress:
        self._open.enter_context(self.bar)
        self._open.enter_context(self._compiling)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _describe(self, text: str) -> None:
        self.bar.update(self.task, description=text)

    def case_done(self) -> None:
        """Move the bar by one of many things that need no words."""
        self.bar.update(self.task, advance=1)

    def step_done(self, text: str) -> None:
        """Move the bar by one epoch, with words of one's own."""
        self.bar.update(self.task, advance=1, description=text)

    def say(self, text: str) -> None:
        """Print a line about a finished run where there is no live bar."""
        self.runs += 1
        self.bar.update(self.task, completed=self.runs * self.epochs)
        if not self.live:
            click.echo(text, err=True)

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
