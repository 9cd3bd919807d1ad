"""The directive ``fasim-commands``: the help of every command, as the command line itself prints it."""

from __future__ import annotations

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from fasim.cli import COMMANDS, command

COLUMNS = 110


class Commands(Directive):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        found: list[nodes.Node] = []
        for name in sorted(COMMANDS):
            own = command.commands[name].load()  # type: ignore[attr-defined]
            context = click.Context(own, info_name=f"fasim {name}", max_content_width=COLUMNS, terminal_width=COLUMNS)
            context.show_default = True
            section = nodes.section(ids=[f"fasim-{name}"])
            section += nodes.title(text=f"fasim {name}")
            section += nodes.literal_block(text=own.get_help(context), language="text")
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("fasim-commands", Commands)
    return {"parallel_read_safe": True}
