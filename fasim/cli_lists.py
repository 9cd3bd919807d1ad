"""``fasim rules`` and ``fasim feedback``: what there is to choose from."""

from __future__ import annotations

import click

from fasim.cli_groups import Command


@click.command(cls=Command)
def rules() -> None:
    """Print all learning rules, their sources and what they can train."""
    from fasim import report
    from fasim.catalogue import rules_table

    report.print_table(rules_table())


@click.command(cls=Command)
def feedback() -> None:
    """Print the words of a feedback family, for --feedback, and where each comes from."""
    from fasim import report
    from fasim.catalogue import feedback_tables

    for table in feedback_tables():
        report.print_table(table)
