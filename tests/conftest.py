"""Settings that hold for every test."""

from __future__ import annotations

import os

# Before anything imports Matplotlib: tests draw into files, never onto a screen.
os.environ["MPLBACKEND"] = "Agg"
