"""Links of a page to Markdown files of the repository that are no pages, such as ``cuda/README.md``.

MyST offers other files for download and takes those that end in ``.md`` for pages, also outside of the folder of pages,
where Sphinx knows none. They are offered for download too; what is not there stays, and Sphinx warns of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class RepositoryLinks(SphinxTransform):
    """Turn links to Markdown outside of the pages into downloads."""

    default_priority = 1

    def apply(self, **_: object) -> None:
        """Look at every link of the page to a page."""
        for link in list(self.document.findall(addnodes.pending_xref)):
            path = Path(f"{link['reftarget']}.md")
            if link.get("refdomain") != "doc" or not path.is_absolute() or not path.is_file():
                continue
            here = Path(self.env.doc2path(self.env.docname)).parent
            target = os.path.relpath(path, here)
            download = addnodes.download_reference("", "", *link.children, reftarget=target, refdoc=self.env.docname)
            link.replace_self(download)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform."""
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True}
