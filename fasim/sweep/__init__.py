r"""Sweeps: many runs from one document, on as many processes as there are, that go on where they were stopped.

A document (:mod:`fasim.sweep.grid`) gives points; each is resolved to everything that decides its result
(:mod:`fasim.sweep.point`) and runs into a folder named by the hash of that (:mod:`fasim.sweep.folders`), in this process or
on Dask (:mod:`fasim.sweep.engine`). :mod:`fasim.sweep.summary` takes the folders together.

>>> from fasim.sweep import read_text
>>> sweep = read_text('[grid]\nrule = ["bp", "dfa"]\nseed = [0, 1, 2]')
>>> len(sweep.cases), sweep.axes
(6, ('rule', 'seed'))
"""

from __future__ import annotations

from fasim.sweep.engine import Pool, run_points
from fasim.sweep.folders import SweepFolder
from fasim.sweep.grid import Sweep, read_sweep, read_text
from fasim.sweep.point import Point, resolve
from fasim.sweep.running import run_point
from fasim.sweep.summary import Group, group, pareto

__all__ = [
    "Group",
    "Point",
    "Pool",
    "Sweep",
    "SweepFolder",
    "group",
    "pareto",
    "read_sweep",
    "read_text",
    "resolve",
    "run_point",
    "run_points",
]
