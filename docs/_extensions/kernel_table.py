"""The directive ``kernel-table``: every kernel, its arguments and the first sentence that it says of itself."""

from __future__ import annotations

import inspect

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from fasim import kernels


class Kernels(Directive):
    """A definition list of all kernels."""

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        every = nodes.definition_list()
        for name in kernels.__all__:
            function = getattr(kernels, name)
            if not hasattr(function, "py_func"):
                continue
            item = nodes.definition_list_item()
            item += nodes.term("", "", nodes.literal(text=f"{name}{inspect.signature(function.py_func)}"))
            text = inspect.getdoc(function.py_func) or ""
            item += nodes.definition("", nodes.paragraph(text=" ".join(text.split("\n\n")[0].split())))
            every += item
        return [every]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("kernel-table", Kernels)
    return {"parallel_read_safe": True}
