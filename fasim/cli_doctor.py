"""``fasim doctor``: what a bug report needs, and on request all kernels compiled ahead."""

from __future__ import annotations

import click

from fasim.cli_groups import Command


@click.command(cls=Command)
@click.option(
    "--warm", is_flag=True, help="Compile the kernels of every preset ahead, which takes minutes and happens once."
)
def doctor(warm: bool) -> None:
    """Print versions, CPU, backends and the data folder, and test that the kernels give the right bits here."""
    from fasim.doctor import lines
    from fasim.progress import Compiling, Progress

    with Compiling():
        for line in lines():
            click.echo(line)
    if warm:
        from fasim import warm as ahead

        cases = ahead.cases()
        with Progress(len(cases)) as progress:
            warmed = ahead.warm_up(cases, progress.case_done)
        click.echo(
            f"kernels: {warmed.kernels} ready, {warmed.compiled} of them compiled now, in {warmed.seconds:.0f} s; "
            f"cache {warmed.folder}"
        )
