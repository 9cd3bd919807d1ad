"""How the texts of options become data, networks, settings, plans and numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from fasim.errors import ConfigError
from fasim.files import user_path

if TYPE_CHECKING:
    from fasim.data import Data
    from fasim.files import ResultFolder
    from fasim.network import Network
    from fasim.plan import Plan
    from fasim.rules import Rule
    from fasim.schedule import StepSettings

MOST_SEEDS = 100_000


def data(given: dict[str, Any]) -> Data:
    """Return the data set that the options name, standardised as they say."""
    from fasim import data as sets

    loaded = sets.load(given["data"], allow_unverified=given["allow_unverified_data"])
    return sets.standardise(loaded, given["standardise"])


def settings(given: dict[str, Any], task: str = "classification") -> StepSettings:
    """Return the step settings that the options give; target and loss by the task unless they are given."""
    from fasim.schedule import StepSettings

    target = given["target"] or ("label" if task == "classification" else "value")
    return StepSettings(
        target=target,
        loss=given["loss"] or ("bce" if target == "label" else "mse"),
        **{
            name: given[name]
            for name in (
                "batch_size",
                "reduction",
                "error_scale",
                "optimizer",
                "hook",
                "feedback",
                "feedback_optimizer",
                "weight_decay",
                "feedback_weight_decay",
                "decay_kind",
                "clip",
                "freeze",
                "fgsm",
            )
        },
    )


def rule(text: str) -> Rule:
    """Return the rule of a name, or of the user's own Python file, which is run if its name was typed."""
    from fasim import rules
    from fasim.cli_config import check_typed

    check_typed(text)
    return rules.load(text)


def network(given: dict[str, Any], topology: str, loss: str) -> Network:
    """Return the network of a topology string, with the output activation that the loss needs unless one is given."""
    from fasim.losses import DEFAULT_OUTPUTS
    from fasim.network import Network

    names = ("hidden", "init", "bias_init", "batch_norm", "dropout", "input_dropout", "dropout_kind")
    output = given["output"] or DEFAULT_OUTPUTS[loss]
    return Network.parse(topology, output=output, **{name: given[name] for name in names})


def plan(given: dict[str, Any]) -> Plan:
    """Return the plan that the options give."""
    from fasim.plan import Plan

    names = ("rate_schedule", "feedback_schedule", "last_batch", "augment", "stages", "stop", "train_accuracy")
    rate = given["feedback_rate"]
    return Plan(
        feedback_rate=None if rate is None else number(rate, "feedback-rate"), **{name: given[name] for name in names}
    )


def out(given: dict[str, Any]) -> str | None:
    """Return the folder for the results of a run, or None for a new one; nothing there is overwritten by mistake.

    A run that is resumed goes on in its own folder; a checkpoint is not replaced by that of another run.
    """
    from fasim.checkpoint import FILE

    folder, resume = given["out"], given["resume"]
    if resume is not None:
        if folder is not None:
            raise ConfigError(f"--resume {resume} --out {folder}: a resumed run goes on in its own folder; leave out --out")
        return str(resume)
    if given["checkpoint"] and folder and (user_path(folder) / FILE).exists():
        raise ConfigError(f"--out {folder}: a checkpoint is there; go on with --resume {folder}, or give another folder")
    return folder


def run_folder(given: str | None, what: str, data: str) -> ResultFolder:
    """Return the folder for the results of a run, which is this process's alone until the command ends."""
    from fasim.report import result_folder

    results = result_folder(given, what, data, alone=True)
    click.get_current_context().call_on_close(results.release)
    return results


def items(text: str, what: str) -> list[str]:
    """Return the items of a comma-separated list."""
    found = [item.strip() for item in text.split(",")]
    if not all(found):
        raise ConfigError(f"--{what} {text!r}: write names separated by single commas")
    return found


def whole_number(text: str, what: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"--{what} {text!r}: a whole number is needed, such as 0") from None


def seeds(text: str) -> list[int]:
    """Read ``0,1,2``, ``0-255``, or how many there are from 0 on: ``256``. The seeds 0 and 1 may stand alone."""
    if text.strip().isdecimal() and int(text) > 1:
        text = f"0-{int(text) - 1}"
    found: list[int] = []
    for item in items(text, "seeds"):
        first, dash, last = item.partition("-")
        if not (first and dash):
            found.append(whole_number(item, "seeds"))
            continue
        start, stop = whole_number(first, "seeds"), whole_number(last, "seeds")
        if not 0 <= stop - start < MOST_SEEDS:
            raise ConfigError(f"--seeds {item!r}: write a range of 1 to {MOST_SEEDS} seeds upwards, such as 0-255")
        found += range(start, stop + 1)
    return found


def number(text: str, what: str = "lr") -> float:
    """Read ``0.001``, ``1e-3`` or ``2^-7``."""
    base, power, exponent = text.partition("^")
    try:
        return float(base) ** int(exponent) if power else float(text)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ConfigError(f"--{what} {text!r}: write a number such as 0.001 or 2^-7") from None


def rates(text: str, used: list[Rule]) -> float | dict[str, float]:
    """Read ``2^-7`` or ``dfa=1.5e-4,fa=5e-4``; an item without a name is for all other rules of those in use."""
    from fasim import rules

    if "=" not in text:
        return number(text)
    by_rule = {}
    for item in items(text, "lr"):
        name, equals, value = item.rpartition("=")
        if equals and name not in map(str, used):
            rules.get(name)
        if name in by_rule:
            raise ConfigError(f"--lr {text!r}: {name or 'the rate for other rules'} stands twice")
        by_rule[name] = number(value)
    return by_rule


def threads(given: int, network: Network, settings: StepSettings) -> int:
    """Choose one thread where a step is so small that meeting at barriers costs more than it gains."""
    from fasim.execution import is_worth_threads

    if given:
        return given
    return (os.cpu_count() or 1) if is_worth_threads(network, settings.batch_size) else 1
