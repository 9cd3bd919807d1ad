"""Tables of what there is to choose from: learning rules, and the words of a feedback family."""

from __future__ import annotations

from rich.table import Table

from fasim import feedback, rules
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.network import Network
from fasim.schedule import Schedule, StepSettings
from fasim.schedule import ops as kinds

# three layers each, so that a rule shows what it does below the top hidden one
DENSE = "6-5-4-3"
MAPS = "4x4x1-2c3-2c3-5-3"
FIXED = "s8"


def rules_table() -> Table:
    """Return the table of all learning rules; what a rule can do is asked of its own schedule, not of a list."""
    table = Table(title="learning rules", title_justify="left")
    for name in ("rule", "what it is", "source", "conv", "fixed point"):
        table.add_column(name, no_wrap=name == "rule")
    for rule in map(rules.get, rules.names()):
        title = f"{rule.title} ({rule.note})" if rule.note else rule.title
        answers = (trains_convolutions(rule.name), runs_in_fixed_point(rule.name))
        table.add_row(rule.name, title, rule.source, *("yes" if answer else "no" for answer in answers))
    table.caption = f"conv: the rule trains convolutions; fixed point: it runs on a datapath such as {FIXED}"
    return table


def trains_convolutions(rule: str) -> bool:
    """Return whether a rule writes an update of the first layer of a convolutional network."""
    step = _step(rule, MAPS)
    return step is not None and any(op.layer == 1 for op in step.find(kinds.UPDATE))


def runs_in_fixed_point(rule: str) -> bool:
    """Return whether a rule has a fixed-point form on a dense network."""
    return _step(rule, DENSE, load_datapath(FIXED)) is not None


def _step(rule: str, topology: str, datapath: Datapath | None = None) -> Schedule | None:
    try:
        return rules.training_step(Network.parse(topology), rule, StepSettings(batch_size=2), datapath)
    except ConfigError:
        return None


def feedback_tables() -> list[Table]:
    """Return the words of a feedback family, with where each comes from."""
    bases = Table(title="feedback: <base>[:<number>][+<modifier>...], such as crafton+k:1", title_justify="left")
    for name in ("base", "number", "source"):
        bases.add_column(name, no_wrap=name == "base")
    for name, base in feedback.BASES.items():
        bases.add_row(name, base.number or "-", base.source)
    modifiers = Table(title="modifiers, at most one of each kind, in any order", title_justify="left")
    for name in ("modifier", "kind", "example", "source"):
        modifiers.add_column(name, no_wrap=name != "source")
    for name, modifier in feedback.MODIFIERS.items():
        modifiers.add_row(":".join((f"+{name}", *modifier.numbers)), modifier.kind, f"+{modifier.example}", modifier.source)
    return [bases, modifiers]
