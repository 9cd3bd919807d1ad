"""The tables, figures and listings of the papers as named runs, with the source of every setting.

>>> from fasim.experiments import load_experiment
>>> case = load_experiment("004-M").select("784-500-10 dfa")[0]
>>> case.published["test_error"].text, case.settings["learning_rate"].value
('2.59 ±.11', 0.00015)
"""

from __future__ import annotations

from fasim.experiments.experiment import Case, Experiment, Published, Quick, Setting, Variant
from fasim.experiments.load import Times, load_experiment, measured_times, names
from fasim.experiments.orders import Order
from fasim.experiments.pairs import Pair, measured_order, pairs_held, verdict
from fasim.experiments.quick import QuickRow, run_quick
from fasim.experiments.running import cell_of, run_case, train_case
from fasim.experiments.summary import Row, summary

__all__ = [
    "Case",
    "Experiment",
    "Order",
    "Pair",
    "Published",
    "Quick",
    "QuickRow",
    "Row",
    "Setting",
    "Times",
    "Variant",
    "cell_of",
    "load_experiment",
    "measured_order",
    "measured_times",
    "names",
    "pairs_held",
    "run_case",
    "run_quick",
    "summary",
    "train_case",
    "verdict",
]
