"""What fasim's speed is aimed at, and what the result lines say was reached: data for the table of ``docs/performance.md``.

The goals were set for a quiet AMD CPU with AVX-512 VNNI, one thread unless it says otherwise. On Intel's CPUs PyTorch's own
products are nearer the peak, so that the same share of the peak is a smaller multiple of M.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Line = dict[str, Any]

WIDE = ("784-1000-1000-10", "784-800-800-10")
LARGE = "3072-1000-1000-10"
PLAIN = ("784-500-10", *WIDE, LARGE)
THREE = ("bp", "dfa", "drtp")
DIRECT = ("dfa", "drtp")
BATCH = 64


class Goal(NamedTuple):
    """One number that is aimed at.

    Parameters
    ----------
    what, batch : str
        As the table says it.
    unit : str
        What stands behind the number: ``M``, ``own float32``, ``% of the ceiling`` ...
    least : float
    values : dict of str to float
        What was measured, by what it was measured on; empty if nothing was.
    """

    what: str
    batch: str
    unit: str
    least: float
    values: dict[str, float]

    @property
    def met(self) -> bool | None:
        """Whether the lowest reaches it; None if nothing was measured."""
        return min(self.values.values()) >= self.least if self.values else None


def _ratio(name: str) -> Callable[[Line], float | None]:
    return lambda line: line["times_faster_than"].get(name)


def _share(line: Line) -> float:
    return 100 * line["ceiling"]["share"]


class _Steps:
    """Finds values in the lines of `throughput.py`."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = list(lines)

    def of(
        self,
        value: Callable[[Line], float | None],
        nets: tuple[str, ...],
        rules: tuple[str, ...],
        datapath: str,
        batches: tuple[int, ...],
        threads: int = 1,
    ) -> dict[str, float]:
        found = {}
        for line in self.lines:
            cell = line["cell"]
            here = cell["net"] in nets and cell["rule"] in rules and cell["format"] == datapath
            if here and cell["batch"] in batches and cell["threads"] == threads and (number := value(line)) is not None:
                name = [cell["rule"], *([cell["net"]] * (len(nets) > 1)), *([str(cell["batch"])] * (len(batches) > 1))]
                found[" ".join(name)] = number
        return found


def step_goals(lines: Iterable[Line]) -> list[Goal]:
    """Return the goals for training steps."""
    steps = _Steps(lines)
    m, own, one = _ratio("M"), _ratio("float32"), _ratio("one_thread")
    ceiling = "% of the ceiling"
    goals = []
    for what, nets, rules, parts in (
        (
            "float32 784-500-10: bp, dfa, drtp",
            PLAIN[:1],
            THREE,
            [(1, ceiling, 85), (1, "M", 4.4), (16, "M", 2.4)]
            + [(batch, unit, least) for batch in (64, 100) for unit, least in ((ceiling, 88), ("M", 2.3))],
        ),
        (
            "float32 784-1000-1000-10 and 784-800-800-10: dfa, drtp",
            WIDE,
            DIRECT,
            [(1, ceiling, 80), (1, "M", 2.9), (16, "M", 2.3)]
            + [(batch, unit, least) for batch in (64, 100) for unit, least in ((ceiling, 85), ("M", 2.1))],
        ),
        (f"float32 {LARGE}: bp, dfa, drtp", (LARGE,), THREE, [(64, "M", 2.0)]),
        ("float32 784-7x240-10: drtp, dfa", ("784-7x240-10",), DIRECT, [(1, "M", 7)]),
        ("float32 784-100x240-10: drtp, dfa", ("784-100x240-10",), DIRECT, [(1, "M", 5)]),
    ):
        for batch, unit, least in parts:
            value = _share if unit == ceiling else m
            goals.append(Goal(what, str(batch), unit, least, steps.of(value, nets, rules, "float32", (batch,))))
    what = "s8, 16-bit master: dfa, drtp, one or two hidden layers of 500 to 1000 units"
    for batch, least in ((16, 3.5), (64, 4.5), (100, 4.5)):
        goals.append(Goal(what, str(batch), "M", least, steps.of(m, PLAIN, DIRECT, "s8", (batch,))))
        goals.append(Goal(what, str(batch), "own float32", 1.8, steps.of(own, PLAIN, DIRECT, "s8", (batch,))))
    goals.append(Goal("s8 784-500-10: dfa, drtp", "1", "M", 5, steps.of(m, PLAIN[:1], DIRECT, "s8", (1,))))
    for what, least in (("s16, exact sums", 2), ("the same, held against the goal for bounded sums", 3)):
        goals.append(Goal(f"{what}: dfa, drtp", "64", "M", least, steps.of(m, PLAIN, DIRECT, "s16", (64,))))
    for datapath in ("float32", "s16", "s8"):
        values = steps.of(one, PLAIN, THREE, datapath, (16, 64), 2)
        goals.append(Goal(f"2 threads, {datapath}: bp, dfa, drtp", "16, 64", "own 1 thread", 1.7, values))
    return goals


def kernel_goals(gemms: Iterable[Line], convs: Iterable[Line], peers: Iterable[Line]) -> list[Goal]:
    """Return the goals for single kernels, from the lines of `gemms.py`, `convs.py` and `peers.py`."""
    gemms, convs, peers = (list(lines) for lines in (gemms, convs, peers))
    goals = []
    for kind, peer, least in (("int8", "torch mm", 7), ("int16", "torch mm", 4), ("int8", "torch._int_mm", 1)):
        values = {
            "x".join(map(str, line["shape"])): line["times_faster_than"][peer]
            for line in gemms
            if line["type"] == kind and line["shape"][0] == BATCH and peer in line["times_faster_than"]
        }
        unit = "torch sgemm" if peer == "torch mm" else peer
        goals.append(Goal(f"product of {kind}", str(BATCH), unit, least, values))
    for what, least in (("forward", 1.2), ("weight gradient", 1.05)):
        values = {line["layer"]: min(line["times_faster_than"].values()) for line in convs if line["what"] == what}
        goals.append(Goal(f"convolution, float32, {what}", str(BATCH), "torch's better layout", least, values))
    values = {f"{line['layer']} {line['what']}": line["int8_times_own_float32"] for line in convs}
    goals.append(Goal("convolution, int8", str(BATCH), "own float32", 1, values))
    names = {f"{line['bits']} bits, {'x'.join(map(str, line['shape']))}": line for line in peers}
    ratios = {name: line["ratio_to_fasim"]["APyTypes"] for name, line in names.items()}
    goals.append(Goal("fixed-point product and cast", "", "APyTypes", 20, ratios))
    every = {name: line["every_mac_ratio"] for name, line in names.items() if "every_mac_ratio" in line}
    goals.append(Goal("saturation at every addition", "", "a loop of APyTypes' casts", 200, every))
    return goals
