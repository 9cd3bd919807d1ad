"""How Sphinx builds these pages: ``make docs``. All of them are Markdown that reads as well on a forge."""

from __future__ import annotations

import sys
from pathlib import Path

import fasim

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "fasim"
author = "The fasim authors"
project_copyright = author
version = release = fasim.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "mathml",
    "sphinx_gallery.gen_gallery",
    "command_pages",
    "kernel_table",
    "repository_links",
]
exclude_patterns = ["_extensions", "examples", "gallery/*.zip", "gallery/*.py", "gallery/*.ipynb", "gallery/*.json"]

html_theme = "furo"
html_title = f"fasim {version}"

# sections of a page are linked to as on a forge: fixed-point.md#random-bits
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's tables say them in words
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "reference_url": {"fasim": None},
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1e9,  # how long this machine took says nothing of the reader's
}
