"""``fasim show``: the schedule of one training step."""

from __future__ import annotations

from typing import Any

import click

from fasim import cli_options as have
from fasim import cli_read as read
from fasim.cli_groups import Command


@click.command(cls=Command)
@have.ONE_STEP
def show(**given: Any) -> None:  # noqa: ANN401
    """Print the schedule of one training step: every op, what it waits for, what must be kept."""
    from fasim.fixedpoint import load_datapath
    from fasim.rules import training_step
    from fasim.schedule.show import lines

    settings = read.settings(given)
    schedule = training_step(
        read.network(given, given["net"], settings.loss),
        read.rule(given["rule"]),
        settings,
        load_datapath(given["datapath"]),
        order_by=given["order"],
        fuse_by=given["fuse"],
    )
    click.echo("\n".join(lines(schedule)))
