"""The learning rules, one file each; every module here with a ``RULE`` (or ``RULES``) is found by itself.

Where a name is asked for, a :class:`Rule` of one's own will do. An installed package can add names: an entry point of the
group ``fasim.rules`` names a Rule. The command line takes the path of a Python file too (:func:`load`).
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from fasim.errors import ConfigError, unknown_name
from fasim.fixedpoint import Datapath
from fasim.network import Network
from fasim.rules.from_file import read_rule
from fasim.rules.rule import Rule
from fasim.schedule import Builder, Schedule, StepSettings, fuse, lower, order, validate

__all__ = ["Rule", "evaluation_pass", "get", "load", "names", "training_step"]

ENTRY_POINTS = "fasim.rules"


@cache
def _rules() -> dict[str, Rule]:
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    rules: list[Rule] = []
    for module in modules:
        rules += getattr(module, "RULES", [])
        rules += [module.RULE] if hasattr(module, "RULE") else []
    rules.sort(key=lambda rule: rule.place)
    found = {rule.name: rule for rule in rules}
    for point in entry_points(group=ENTRY_POINTS):
        rule = point.load()
        if not isinstance(rule, Rule) or rule.name in found:
            raise ConfigError(f"entry point {point.name}: {point.value} must be a Rule with a name that no other rule has")
        found[rule.name] = rule
    return found


def names() -> list[str]:
    """Return the names of all rules, backpropagation first, those of other packages last."""
    return list(_rules())


def get(name: str | Rule) -> Rule:
    """Return a rule by name; a rule is returned as it is.

    Raises
    ------
    ConfigError
        If there is no such rule; the message lists the names.
    """
    if isinstance(name, Rule):
        return name
    if name not in _rules():
        raise ConfigError(unknown_name("rule", name, names()))
    return _rules()[name]


def load(text: str) -> Rule:
    """Return the rule that a user typed: a name, or the path of a Python file with a ``RULE``, which is then run.

    :func:`get` takes no path: a name that stands in a file of settings or in a checkpoint never runs code.

    Parameters
    ----------
    text : str
        A name of :func:`names`, or a path that ends in ``.py``.

    Raises
    ------
    ConfigError
        If there is no such rule or file, the file has no ``RULE``, or the name of its rule is taken.
    """
    if not text.endswith(".py"):
        if text in names():
            return get(text)
        raise ConfigError(unknown_name("rule", text, names()) + "; or give the path of a .py file with a RULE")
    rule = read_rule(Path(text).expanduser())
    if rule.name in names():
        raise ConfigError(f"rule file {text}: {rule.name} is the name of another rule; give the one in the file its own")
    return rule


def training_step(
    network: Network,
    rule: str | Rule,
    settings: StepSettings,
    datapath: Datapath | None = None,
    *,
    order_by: str = "eager",
    fuse_by: str = "none",
) -> Schedule:
    """Return one training step, ready for every reader: lowered to the datapath, ordered, fused, validated.

    Parameters
    ----------
    network : Network
    rule : str or Rule
        A name of :func:`names`, or a rule of one's own.
    settings : StepSettings
    datapath : Datapath or None
        None is float32.
    order_by : str
        ``eager`` or ``phased``, see :mod:`fasim.schedule.order`.
    fuse_by : str
        ``none``, ``within_layer`` or ``deferred``, see :mod:`fasim.schedule.fuse`.
    """
    schedule = get(rule).schedule(network, settings)
    if datapath is not None:
        schedule = lower(schedule, datapath)
    return validate(fuse(order(schedule, order_by), fuse_by))


def evaluation_pass(network: Network, settings: StepSettings, datapath: Datapath | None = None) -> Schedule:
    """Return the forward pass of a network alone, the same for every rule.

    Parameters
    ----------
    network : Network
    settings : StepSettings
        Batch size; the loss must go with the output.
    datapath : Datapath or None
    """
    builder = Builder(network, settings, "none")
    builder.forward(training=False)
    schedule = replace(builder.schedule(), pass_name="evaluation")
    return validate(schedule if datapath is None else lower(schedule, datapath))
