"""How a run goes on from epoch to epoch, beside the training step itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from fasim import learning_rates, stopping
from fasim.errors import ConfigError, unknown_name

LAST_BATCHES = ("drop", "keep")
ALL = "all"
STAGES_EXAMPLE = "hidden:90,output:30,hidden:30,all:30"


class Stage(NamedTuple):
    """`steps` training steps in which the layers `freeze` keep their weights."""

    freeze: str
    steps: int


@dataclass(frozen=True)
class Plan:
    """Schedules, stages and stopping of a run.

    Parameters
    ----------
    rate_schedule, feedback_schedule : str
        See :mod:`fasim.learning_rates`; the second is for feedback that learns, empty: the same.
    feedback_rate : float, optional
        Learning rate with which feedback that learns starts; by default that of the weights.
    last_batch : str
        What becomes of samples that do not fill a last batch: ``drop`` (they wait for another epoch) or ``keep`` (a smaller
        batch of their own).
    augment : str
        See :func:`fasim.data.augment`; empty: none.
    stages : str
        Layerwise stages, as in ``hidden:90,output:30,hidden:30,all:30``: which layers learn, and for how many steps. The
        last stage lasts until the run ends.
    stop : str
        See :mod:`fasim.stopping`; empty: never.
    train_accuracy : bool
        Measure accuracy and loss on the training set too, after each epoch.
    """

    rate_schedule: str = "constant"
    feedback_schedule: str = ""
    feedback_rate: float | None = None
    last_batch: str = "drop"
    augment: str = ""
    stages: str = ""
    stop: str = ""
    train_accuracy: bool = False

    def __post_init__(self) -> None:
        learning_rates.parse(self.rate_schedule)
        learning_rates.parse(self.feedback_schedule or self.rate_schedule)
        stopping.parse(self.stop)
        if self.last_batch not in LAST_BATCHES:
            raise ConfigError(unknown_name("treatment of the last batch", self.last_batch, LAST_BATCHES))
        if self.feedback_rate is not None and not 0 <= self.feedback_rate < math.inf:
            raise ConfigError(f"feedback learning rate {self.feedback_rate}: a number of at least 0 is needed")
        _ = self.parsed_stages

    @property
    def depends_on_epochs(self) -> bool:
        """Whether the rates of an epoch depend on how many the whole run has."""
        schedules = (self.rate_schedule, self.feedback_schedule or self.rate_schedule)
        return any(learning_rates.parse(schedule).kind == "cosine" for schedule in schedules)

    @property
    def measures_training_set(self) -> bool:
        """Whether accuracy on the training set is needed."""
        return self.train_accuracy or bool(self.stop)

    @property
    def parsed_stages(self) -> tuple[Stage, ...]:
        """The stages with what is frozen in each; one that freezes nothing where none are given.

        Raises
        ------
        ConfigError
            If the text cannot be read.
        """
        if not self.stages:
            return (Stage("", 0),)
        found = []
        for item in self.stages.split(","):
            learns, _, steps = item.partition(":")
            frozen = {"hidden": "output", "output": "hidden", ALL: ""}
            if learns not in frozen or not steps.isdecimal() or int(steps) < 1:
                raise ConfigError(
                    f"stage {item!r}: write hidden, output or all, a colon and a number of steps, such as {STAGES_EXAMPLE}"
                )
            found.append(Stage(frozen[learns], int(steps)))
        return tuple(found)

    def rates(self, base: float, epoch: int, epochs: int) -> tuple[float, float]:
        """Return the learning rates of an epoch (from 0) out of `epochs`: of the weights, and of feedback that learns."""
        feedback_base = base if self.feedback_rate is None else self.feedback_rate
        rate = learning_rates.parse(self.rate_schedule).rate(base, epoch, epochs)
        return rate, learning_rates.parse(self.feedback_schedule or self.rate_schedule).rate(feedback_base, epoch, epochs)

    def parts(self, first_step: int, steps: int) -> list[Stage]:
        """Divide steps ``first_step, ..., first_step + steps - 1`` of the run among the stages, in order."""
        stages = self.parsed_stages
        ends = [sum(stage.steps for stage in stages[: index + 1]) for index in range(len(stages))]
        ends[-1] = first_step + steps
        parts, here = [], first_step
        for stage, end in zip(stages, ends, strict=True):
            stop = min(end, first_step + steps)
            if stop > here:
                parts.append(Stage(stage.freeze, stop - here))
                here = stop
        return parts
