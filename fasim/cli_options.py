"""The options of the commands, and how their texts become networks, settings and numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fasim.errors import ConfigError

if TYPE_CHECKING:
    from fasim.network import Network
    from fasim.schedule import StepSettings

# multiply-accumulates of a forward pass below which a second thread costs more at the barriers than it brings
SMALL_STEP = 4_000_000
OUTPUT_OF_LOSS = {"bce": "sigmoid", "cross_entropy": "softmax", "mse": "linear"}


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply several option decorators, so that they appear in this order."""

    def apply(function: Any) -> Any:  # noqa: ANN401
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


NET = click.option("--net", help="Topology, such as 784-500-10; default by data set.")
PROCESSOR = click.option("--processor", default="generic_45nm", help="Energy constants: a preset or a TOML path.")
SHAPE_OPTIONS = options(
    click.option("--hidden", default="tanh", help="Hidden activation: tanh, sigmoid, relu, linear."),
    click.option("--output", help="Output activation; default: what the loss needs.", show_default="by loss"),
    click.option("--init", default="torch", help="Initial weights: torch, xavier, he, zero."),
)
STEP_OPTIONS = options(
    click.option("--batch-size", default=32, help="Samples per step."),
    click.option("--loss", default="bce", help="bce (sigmoid), cross_entropy (softmax), mse."),
    click.option("--optimizer", default="sgd", help="sgd, momentum, adam."),
    click.option("--reduction", default="sum", help="Gradients of a batch: sum, mean."),
    click.option(
        "--error-scale",
        default="loss_gradient",
        help="Direct feedback carries loss_gradient or raw error.",
    ),
    click.option(
        "--feedback",
        default="uniform",
        help="uniform (bound sqrt(6 / hidden size)) or uniform:<bound>.",
    ),
)
SCHEDULE_OPTIONS = options(
    click.option("--order", default="eager", help="eager or phased."),
    click.option("--fuse", default="none", help="none or within_layer."),
    click.option("--hook", default="pre_pool", help="Where direct feedback enters a pooled layer: pre_pool, post_pool."),
)
TRAIN_OPTIONS = options(
    click.option("--data", default="digits", help="digits, mnist, fashion-mnist or a path.npz."),
    NET,
    SHAPE_OPTIONS,
    STEP_OPTIONS,
    click.option("--epochs", default=20, help="Passes over the training set."),
    click.option("--backend", default="cpu", help="cpu or reference."),
    click.option("--threads", default=0, help="Threads; 0 chooses by the size of a step."),
    click.option("--allow-unverified-data", is_flag=True, help="Accept a data file with an unknown hash."),
    click.option("--out", help="Folder for the results; default runs/<time>-..."),
    click.option("--json", "as_json", is_flag=True, help="Print only JSON."),
)


def network(given: dict[str, Any], topology: str) -> Network:
    """Return the network of a topology string, with the output activation that the loss needs unless one is given."""
    from fasim.network import Network

    output = given["output"] or OUTPUT_OF_LOSS.get(given["loss"], "sigmoid")
    return Network.parse(topology, hidden=given["hidden"], output=output, init=given["init"])


def settings(given: dict[str, Any]) -> StepSettings:
    """Return the step settings that the options give."""
    from fasim.schedule import StepSettings

    return StepSettings(
        batch_size=given["batch_size"],
        loss=given["loss"],
        reduction=given["reduction"],
        error_scale=given["error_scale"],
        optimizer=given["optimizer"],
        feedback=given["feedback"],
        hook=given.get("hook", "pre_pool"),
    )


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


def number(text: str) -> float:
    """Read ``0.001``, ``1e-3`` or ``2^-7``."""
    base, power, exponent = text.partition("^")
    try:
        return float(base) ** int(exponent) if power else float(text)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ConfigError(f"--lr {text!r}: write a number such as 0.001 or 2^-7") from None


def rates(text: str) -> float | dict[str, float]:
    """Read ``2^-7`` or ``dfa=1.5e-4,fa=5e-4``; an item without a name is for all other rules."""
    from fasim import rules

    if "=" not in text:
        return number(text)
    by_rule = {}
    for item in items(text, "lr"):
        name, equals, value = item.rpartition("=")
        if equals:
            rules.get(name)
        if name in by_rule:
            raise ConfigError(f"--lr {text!r}: {name or 'the rate for other rules'} stands twice")
        by_rule[name] = number(value)
    return by_rule


def threads(given: int, network: Network, settings: StepSettings) -> int:
    """Choose one thread where a step is so small that meeting at barriers costs more than it gains."""
    if given:
        return given
    import math

    macs = settings.batch_size * sum(math.prod(segment.weight_shape) for segment in network.segments)
    return (os.cpu_count() or 1) if macs > SMALL_STEP else 1
