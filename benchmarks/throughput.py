"""Training steps a second beside PyTorch and beside what the CPU allows, one resumable JSON line a cell.

``python benchmarks/throughput.py`` measures the cells that have no line on this machine yet and appends them to
``benchmarks/results/throughput.jsonl``; ``--nets``, ``--rules``, ``--batches``, ``--formats`` and ``--threads`` choose
among them, ``--again`` measures them anew. ``--quick`` takes a few in less than two minutes and only prints.
``--backend cuda`` is another list of cells, on a GPU, see ``gpu_throughput.py``.

All formats of a network, batch size, rule and number of threads take turns with M, PyTorch by hand, and E, PyTorch with
autograd (``steps_torch.py``, ``eager_torch.py``), and with loops at the peak of the registers and of the memory
(``ceilings.py``). Each program is first proven right (``cases.py``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import machine
import numpy as np
from cases import (
    BATCHES,
    FASTEST,
    FORMATS,
    LEARNING_RATE,
    NETS,
    QUICK,
    RULES,
    THREADS,
    Cell,
    Fasim,
    cells,
    programs,
    prove_fixed,
    prove_float,
    samples_of,
)
from ceilings import PASSES, PEAK_NAMES, Ceilings, moved_bytes, operations, peak_type
from result_lines import append, done, key, provenance
from threadpoolctl import threadpool_limits
from turns import Contender, Times, clock_of, fastest, in_turns, times_faster

from fasim.errors import FasimError
from fasim.schedule import FUSIONS

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "throughput.jsonl"
ACCURACY = HERE / "results" / "fixed.jsonl"
ROUNDS, TURN_S, QUICK_TURN_S = 9, 0.2, 0.08
# long beside the start of threads, 0.1 ms
CEILING_TURN_S = 0.06
COMPILE_LIMIT_S = 120
BACKENDS = ("cpu", "cuda")
# With one hidden layer these rules take the same steps as those that have accuracy runs.
SAME_ACCURACY = {"fa": "dfa", "dkp": "kp"}


class Group:
    """Cells that are measured together: one network, batch size, rule and number of threads.

    Parameters
    ----------
    wanted : sequence of Cell
        They differ in their format only.
    with_torch : bool
    """

    def __init__(self, wanted: Sequence[Cell], *, with_torch: bool) -> None:
        self.cells, self.first, self.with_torch = wanted, wanted[0], with_torch
        self.threads, self.clock = self.first.threads, clock_of(self.first.threads)
        self.contenders: dict[str, Contender] = {}
        self.proofs: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, Any] = {}
        self.programs: dict[str, Fasim] = {}
        self.peaks: dict[str, int] = {}

    def prepare(self) -> None:
        """Make the contenders and prove fasim's right."""
        first = self.first
        formats = list(dict.fromkeys(["float32", *(cell.format for cell in self.cells)]))
        by_format = {name: Cell(**(asdict(first) | {"format": name})) for name in formats}
        example = Fasim(by_format["float32"], *_data(first.net), 1, FUSIONS[0])
        network = example.network
        if self.with_torch:
            import torch
            from eager_torch import Eager
            from steps_torch import HandWritten, variants

            torch.set_num_threads(self.threads)
            given = (network, first.rule, example.initial, example.data, example.order, first.batch, LEARNING_RATE)
            hands = {name: HandWritten(*given, name) for name in variants(network, first.batch)}
            self.notes["M_variant"] = fastest(hands, self.clock)
            self.contenders["M"] = hands[self.notes["M_variant"]]
            self.contenders["E"] = Eager(network, example.data, example.order, first.batch, LEARNING_RATE)
        ceilings = Ceilings(self.threads)
        for name, cell in by_format.items():
            for threads in sorted({1, self.threads}):
                candidates = programs(cell, example.data, example.order, threads)
                program = candidates[fastest(candidates, self.clock)]
                peer = self.contenders.get("M")
                proof = prove_float(program, peer) if name == "float32" else prove_fixed(program)
                if threads == self.threads:
                    self.programs[name], self.proofs[name] = program, proof
                self.contenders[name if threads == self.threads else f"{name}, 1 thread"] = program
            self._add_ceilings(name, ceilings)

    def _add_ceilings(self, name: str, ceilings: Ceilings) -> None:
        program = self.programs[name]
        kind = peak_type(program.schedule)
        if found := ceilings.peak(kind):
            self.contenders[f"peak of {kind}"], self.peaks[kind] = found
        written, read = moved_bytes(program.schedule, program.initial)
        self.contenders[f"written by {name}"] = ceilings.read_and_write(written)
        if read:
            self.contenders[f"read by {name}"] = ceilings.read(read)

    def measure(self, rounds: int, turn_s: float) -> list[dict[str, Any]]:
        """Time all in turns and return a line for each cell."""
        short = ("peak of", "written by", "read by")
        turns = {name: CEILING_TURN_S if name.startswith(short) else turn_s for name in self.contenders}
        return self.lines(in_turns(self.contenders, rounds, turns, self.clock), rounds, turn_s)

    def lines(self, times: dict[str, Times], rounds: int, turn_s: float) -> list[dict[str, Any]]:
        """Return the line of each cell."""
        return [self._line(cell, times, rounds, turn_s) for cell in self.cells]

    def _line(self, cell: Cell, times: dict[str, Times], rounds: int, turn_s: float) -> dict[str, Any]:
        program, own = self.programs[cell.format], times[cell.format]
        steps = operations(program.network, cell.rule, cell.batch)
        shown = {"fasim": own} | {name: times[name] for name in ("M", "E") if name in times}
        others = {"M": "M", "E": "E", "one_thread": f"{cell.format}, 1 thread"}
        if cell.format != "float32":
            others["float32"] = "float32"
        line: dict[str, Any] = {
            "cell": asdict(cell),
            "samples_per_s": {n: [round(cell.batch / t.median), round(cell.batch / t.best)] for n, t in shown.items()},
            "times_faster_than": {
                name: round(times_faster(own, times[other]), 3) for name, other in others.items() if other in times
            },
            "giga_operations_per_s": {name: round(steps / t.median / 1e9, 2) for name, t in shown.items()},
            "ceiling": self._ceiling(cell, times, steps),
            "fuse": program.fuse,
            "proof": self.proofs[cell.format],
            **self.notes,
            "clock": "CPU time" if self.threads == 1 else "wall clock",
            "rounds": rounds,
            "turn_s": turn_s,
            "command": "python benchmarks/throughput.py",
            **provenance(),
            **machine.describe(with_torch=self.with_torch),
            "threads": self.threads,
        }
        if cell.format != "float32":
            line["accuracy"] = accuracy(cell.format, cell.rule)
        return line

    def _ceiling(self, cell: Cell, times: dict[str, Times], steps: int) -> dict[str, Any]:
        program = self.programs[cell.format]
        kind = peak_type(program.schedule)
        written, read = moved_bytes(program.schedule, program.initial)
        memory = times[f"written by {cell.format}"].median / PASSES
        if read:
            memory += times[f"read by {cell.format}"].median / PASSES
        found = {"operations": steps, "written_bytes": written, "read_bytes": read, "memory_s": float(f"{memory:.4g}")}
        found["threads"] = self.threads
        products = 0.0
        if kind in self.peaks:
            rate = self.peaks[kind] / times[f"peak of {kind}"].median
            products = steps / rate
            found |= {"peak_giga_operations_per_s": round(rate / 1e9, 1), "products_s": float(f"{products:.4g}")}
        name = PEAK_NAMES[kind] if products > memory else "weights read and written once"
        return found | {"name": name, "share": float(f"{max(products, memory) / times[cell.format].median:.4g}")}


@cache
def _data(net: str) -> tuple[Any, np.ndarray]:
    from fasim.network import Network

    return samples_of(Network.parse(net))


@cache
def accuracy(datapath: str, rule: str) -> dict[str, Any] | None:
    """Return the test errors of a rule's runs on a datapath and in float32 (MNIST, see docs), or None if there are none."""
    rule = SAME_ACCURACY.get(rule, rule)
    found: dict[str, list[float]] = {}
    for line in done(ACCURACY).values():
        cell = line["cell"]
        if cell["table"] == "presets" and cell["family"] == "tanh, bce" and cell["rule"] == rule:
            found.setdefault(cell["datapath"], []).append(line["test_error_percent"][-1])
            net = cell["net"]
    if datapath not in found:
        return None
    return {
        "data": "mnist",
        "net": net,
        "datapath": datapath,
        "test_error_percent": round(fmean(found[datapath]), 2),
        "float32_test_error_percent": round(fmean(found["float32"]), 2),
    }


def compiled_note(cell: Cell) -> dict[str, Any]:
    """Return how many times faster E is after ``torch.compile``, or why there is no such number."""
    command = [sys.executable, str(HERE / "eager_torch.py"), cell.net, str(cell.batch)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"note": f"not done in {COMPILE_LIMIT_S} s"}
    if answer.returncode:
        return {"note": (answer.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    return json.loads(answer.stdout.splitlines()[-1])


def missing(wanted: Sequence[Cell], path: Path, *, with_torch: bool) -> list[Cell]:
    """Return the cells without a line, or with one that was made without PyTorch though it is there now."""
    lines = done(path)
    found = {cell: lines.get(key(asdict(cell))) for cell in wanted}
    return [cell for cell, line in found.items() if line is None or (with_torch and "M" not in line["samples_per_s"])]


def text_of(line: dict[str, Any]) -> str:
    """Return a line for people."""
    cell, ratios, ceiling = line["cell"], line["times_faster_than"], line["ceiling"]
    what = f"{cell['net']} {cell['rule']} {cell['format']} batch {cell['batch']}, {cell['threads']} thread(s)"
    rates = ", ".join(f"{name} {median}" for name, (median, _) in line["samples_per_s"].items())
    faster = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in ratios.items())
    by_hand = line["giga_operations_per_s"].get("M")
    rates += f" ({by_hand:.0f} GFLOP/s)" if by_hand else ""
    return f"{what} [{line['fuse']}]: {rates} samples/s; {faster}; {100 * ceiling['share']:.0f} % of {ceiling['name']}"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, known in (("nets", NETS), ("rules", RULES), ("batches", BATCHES), ("formats", FORMATS), ("threads", THREADS)):
        parser.add_argument(f"--{name}", nargs="+", type=type(known[0]), help=f"default: {' '.join(map(str, known))}")
    parser.add_argument("--fuse", default=FASTEST, choices=(FASTEST, *FUSIONS))
    parser.add_argument("--backend", choices=BACKENDS, help="cuda: other cells and options, see --backend cuda --help")
    parser.add_argument("--quick", action="store_true", help="few cells, shorter turns, print only")
    parser.add_argument("--again", action="store_true", help="measure what has a line too")
    parser.add_argument("--list", action="store_true", help="only say what is missing")
    parser.add_argument("--without-torch", action="store_true", help="leave the columns of PyTorch empty")
    parser.add_argument("--compile", action="store_true", help="with E after torch.compile, as a note beside bp")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turn", type=float, help=f"seconds of a turn, default {TURN_S}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(given)
    defaults = {"nets": NETS, "rules": RULES, "batches": BATCHES, "formats": FORMATS, "threads": THREADS}
    defaults |= QUICK if options.quick else {}
    for name, known in defaults.items():
        setattr(options, name, tuple(getattr(options, name) or known))
    options.turn = options.turn or (QUICK_TURN_S if options.quick else TURN_S)
    return options


def on_gpu(given: Sequence[str]) -> int:
    """Measure on a GPU, or say in one line why not; return the exit code."""
    try:
        import gpu_throughput
    except FasimError as error:
        print(error, file=sys.stderr)
        return 2
    return gpu_throughput.main(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure what is missing; return the exit code."""
    backend = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    backend.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0])
    first, others = backend.parse_known_args(given)
    if first.backend == "cuda":
        return on_gpu(others)
    options = arguments(others)
    with_torch = not options.without_torch
    if with_torch and not machine.torch_is_there():
        print(machine.HINT, file=sys.stderr)
        return 2
    chosen = (getattr(options, name) for name in ("nets", "batches", "rules", "formats", "threads"))
    wanted = list(cells(*chosen, options.fuse))
    if not (options.again or options.quick):
        wanted = missing(wanted, options.results, with_torch=with_torch)
    print(machine.header(with_torch=with_torch), f"{len(wanted)} cells to measure", sep="\n", flush=True)
    if options.list:
        return 0
    for _, together in groupby(wanted, lambda cell: (cell.net, cell.batch, cell.rule, cell.threads)):
        group = Group(list(together), with_torch=with_torch)
        with threadpool_limits(group.threads, user_api="blas"):
            group.prepare()
            lines = group.measure(options.rounds, options.turn)
        if options.compile and with_torch and group.threads == 1 and group.first.rule == "bp":
            note = compiled_note(group.first)
            lines = [line | {"compiled_E": note} for line in lines]
        for line in lines:
            print(text_of(line), flush=True)
            if not options.quick:
                append(options.results, line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
