"""The command ``fasim format``: explains a number format."""

from __future__ import annotations

import click

from fasim.cli_groups import Command


@click.command("format", cls=Command)
@click.argument("text", metavar="FORMAT")
@click.option("--rounding", default="RND", help="The rounding that the staircase shows, by our name or another tool's.")
def command(text: str, rounding: str) -> None:
    """Explain a number format such as s8.6, u8.8, sym8.7 or ap_fixed<8,2>: range, names, roundings, overflows."""
    from fasim import format_page

    click.echo("\n".join(format_page.lines(text, rounding)))
