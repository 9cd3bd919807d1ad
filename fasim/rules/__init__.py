"""The learning rules, one file each; every module here with a ``RULE`` is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from fasim.errors import ConfigError, unknown_name
from fasim.fixedpoint import Datapath
from fasim.network import Network
from fasim.rules.rule import Rule
from fasim.schedule import Builder, Schedule, StepSettings, fuse, lower, order, validate

__all__ = ["Rule", "evaluation_pass", "get", "names", "training_step"]


@cache
def _rules() -> dict[str, Rule]:
    modules = (importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    rules = [module.RULE for module in modules if hasattr(module, "RULE")]
    return {rule.name: rule for rule in sorted(rules, key=lambda rule: rule.place)}


def names() -> list[str]:
    """Return the names of all rules, backpropagation first."""
    return list(_rules())


def get(name: str) -> Rule:
    """Return a rule by name.

    Raises
    ------
    ConfigError
        If there is no such rule; the message lists the names.
    """
    if name not in _rules():
        raise ConfigError(unknown_name("rule", name, names()))
    return _rules()[name]


def training_step(
    network: Network,
    rule: str,
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
    rule : str
    settings : StepSettings
    datapath : Datapath or None
        None is float32.
    order_by : str
        ``eager`` or ``phased``, see :mod:`fasim.schedule.order`.
    fuse_by : str
        ``none`` or ``within_layer``, see :mod:`fasim.schedule.fuse`.
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
    builder.forward()
    schedule = builder.schedule().only_forward()
    return validate(schedule if datapath is None else lower(schedule, datapath))
