"""The picture of a step's energy: stacked bars of a rule beside the rule that it is held against."""

from __future__ import annotations

import io

from fasim.energy import CHOICES, CostOptions, Estimate
from fasim.plots import COLOURS, MORE_COLOURS
from fasim.schedule import PHASES

# parts below this share of the taller bar are drawn together
SMALL_SHARE = 0.01
OTHERS = "others"
UNITS = (("mJ", 1e9), ("uJ", 1e6), ("nJ", 1e3))


def energy_bars(estimates: list[Estimate]) -> bytes:
    """Draw energy per sample, stacked by phase on the left, by tensor class and operations on the right.

    Thin lines go from the low to the high constants of the processor.

    Parameters
    ----------
    estimates : list of Estimate
        One bar each, all of one processor.

    Returns
    -------
    bytes
        A PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = [estimate.rule for estimate in estimates]
    tallest = max(estimate.energy_pj_per_sample.typical for estimate in estimates)
    unit, size = next(((name, size) for name, size in UNITS if tallest >= size), UNITS[-1])
    stacks = (
        (left, "phase", [{phase: estimate.phase_pj_per_sample[phase] for phase in PHASES} for estimate in estimates]),
        (right, "tensor class", [_gathered(estimate.class_pj_per_sample, tallest) for estimate in estimates]),
    )
    for axes, title, parts in stacks:
        for part, colour in zip(
            dict.fromkeys(name for stack in parts for name in stack), COLOURS[1:] + MORE_COLOURS, strict=False
        ):
            heights = [stack.get(part, 0.0) / size for stack in parts]
            below = [
                sum(list(stack.values())[: list(stack).index(part)]) / size if part in stack else 0.0 for stack in parts
            ]
            axes.bar(names, heights, 0.55, bottom=below, label=part, color=colour)
        for place, estimate in enumerate(estimates):
            spread = estimate.energy_pj_per_sample
            axes.plot([place, place], [spread.low / size, spread.high / size], color="#333333", linewidth=0.8)
        axes.set_title(f"by {title}", fontsize=10)
        axes.legend(fontsize=8, loc="upper right")
        axes.margins(x=0.25)
    left.set_ylabel(f"energy per training sample ({unit}) on {estimates[0].processor}")
    first = estimates[0]
    figure.suptitle(
        f"{first.network}, {first.datapath}, batch {first.batch_size}; thin lines: low to high constants" + _choices(first),
        fontsize=11,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _choices(estimate: Estimate) -> str:
    """Return a line with what was not left at its default; empty if all was."""
    usual, given = CostOptions(), estimate.options
    found = {name: getattr(given, name) for name in (*CHOICES, "dram") if getattr(given, name) != getattr(usual, name)}
    found |= {"sram": f"{given.sram_bytes} B"} if given.sram_bytes else {}
    found |= {
        name: value
        for name, value, default in (("order", estimate.order, "eager"), ("fuse", estimate.fuse, "none"))
        if value != default
    }
    return "\n" + ", ".join(f"{name} {value}" for name, value in found.items()) if found else ""


def _gathered(parts: dict[str, float], tallest: float) -> dict[str, float]:
    """Return the parts with the small ones summed."""
    large = {name: value for name, value in parts.items() if value >= SMALL_SHARE * tallest}
    rest = sum(parts.values()) - sum(large.values())
    return large | ({OTHERS: rest} if rest > 0 else {})
