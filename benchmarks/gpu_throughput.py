"""``throughput.py --backend cuda``: fasim's steps on a GPU beside PyTorch's on the same one, and products of int8 matrices.

A line a cell is printed and appended to ``benchmarks/results/gpu.jsonl``, with the device's name, driver and command.
PyTorch's steps are float32 and train one network, for it has no populations; what stands beside a cell in fixed point or
beside a population is that. Cells come in the order of `KINDS`, what matters most first; none begins once ``--minutes`` are
over, and which are left out is said. Lines that are written stay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gpu
import gpu_products
import machine
from result_lines import append

NETS, RULES = ("784-1000-1000-10",), ("bp", "dfa")
SIZES = (4096,)
MINUTES = 6.0
COMMAND = "python benchmarks/throughput.py --backend cuda"
HINT = "PyTorch with a GPU is absent: pip install torch, or lines are without it"


# what is measured, most important first
KINDS = (
    "single networks beside PyTorch",
    "products of int8 matrices",
    "populations",
    "single networks, steps as a graph",
    "populations, steps as a graph",
)


def kind(cell: gpu.Cell | gpu_products.Product) -> int:
    """Return the place of a cell's kind in `KINDS`."""
    if isinstance(cell, gpu_products.Product):
        return 1
    return 2 * (cell.replicas > 1) if not cell.graphs else 3 + (cell.replicas > 1)


def plan(wanted: Sequence[gpu.Cell | gpu_products.Product], minutes: float) -> str:
    """Return how a run proceeds, in one line."""
    counts = [(name, sum(kind(cell) == place for cell in wanted)) for place, name in enumerate(KINDS)]
    parts = ", then ".join(f"{count} of {name}" for name, count in counts if count)
    return f"{len(wanted)} cells, each proven right and then timed; none begins after {minutes:g} minutes: {parts}"


@cache
def peers(net: str, rule: str, batch: int, rounds: int, turn_s: float) -> dict[str, Any] | None:
    """Return the rates of PyTorch's steps after a proof, None for a rule that nobody has written in PyTorch."""
    import gpu_peers

    if not gpu_peers.knows(rule):
        return None
    found = gpu_peers.Peers(net, rule, batch)
    difference = float(f"{found.prove():.2g}")
    return {**found.measure(rounds, turn_s), "proof": {"against": "fasim", "largest_difference": difference}}


def lines(
    options: argparse.Namespace, *, with_torch: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what has been measured, for people and as a line, until the time is up by a clock of seconds."""
    started = clock()
    wanted = sorted([*gpu.cells(options), *gpu_products.products(list(options.products))], key=kind)
    print(plan(wanted, options.minutes), flush=True)
    for place, cell in enumerate(wanted):
        if clock() - started >= 60 * options.minutes:
            left = f"{len(wanted) - place} of {len(wanted)} cells are left out"
            print(f"{options.minutes:g} minutes are over: {left}, from {cell} on")
            return
        if isinstance(cell, gpu_products.Product):
            line = gpu_products.line_of(cell, options.rounds, options.turn)
            share = line["share_of_peak"]
            of_peak = "the card's peak is not known" if share is None else f"{100 * share:.3g} % of the card's peak"
            text = f"int8 {cell.size}^3 by {cell.way}: {line['giga_operations_per_s']} GOP/s, {of_peak}"
            yield f"{text} ({line['kind']}, {cell.device})", line
            continue
        line = gpu.line_of(cell, options.rounds, options.turn) | {"command": COMMAND}
        beside = peers(cell.net, cell.rule, cell.batch, options.rounds, options.turn) if with_torch else None
        rates = beside["samples_per_s"] if beside else {}
        line |= {"peers": beside, "times_faster_than": {name: faster(line, rate) for name, rate in rates.items()}}
        what = f"{cell.net} {cell.rule} {cell.format} batch {cell.batch} replicas {cell.replicas} graphs {cell.graphs}"
        ratios = "".join(f"; {ratio} x {name} (one network)" for name, ratio in line["times_faster_than"].items())
        yield f"{what}: {line['samples_per_s']} samples/s{ratios} ({line['kind']}, {cell.device})", line


def faster(line: dict[str, Any], rate: int) -> float:
    """Return how many times as many samples a second a line has."""
    return float(f"{line['samples_per_s'] / rate:.3g}")


def main(given: Sequence[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="throughput.py --backend cuda", description=__doc__.splitlines()[0])
    lists = {"nets": NETS, "rules": RULES, "batches": gpu.BATCHES, "formats": gpu.FORMATS, "products": SIZES}
    for name, known in {**lists, "replicas": gpu.REPLICAS, "graphs": gpu.GRAPHS}.items():
        parser.add_argument(f"--{name}", nargs="*", type=type(known[0]), default=known)
    parser.add_argument("--rounds", type=int, default=gpu.ROUNDS)
    parser.add_argument("--turn", type=float, default=gpu.TURN_S, help="seconds of a turn")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no cell begins")
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--results", type=Path, default=gpu.RESULTS)
    options = parser.parse_args(given)
    with_torch = not options.without_torch and torch_on_gpu()
    if not (with_torch or options.without_torch):
        print(HINT, file=sys.stderr)
    for text, line in lines(options, with_torch=with_torch):
        append(options.results, line)
        print(text, flush=True)
    return 0


def torch_on_gpu() -> bool:
    """Return whether PyTorch is there and sees a GPU."""
    if not machine.torch_is_there():
        return False
    import gpu_peers

    return gpu_peers.is_there()
