"""Convolutions beside PyTorch in either layout of the maps and beside this CPU's own peak, one JSON line a layer.

``python benchmarks/convs.py`` times forward pass and weight gradient of float32 in turns, A B A B, in one process, on one
thread, by CPU time, and appends to ``benchmarks/results/convs.jsonl``; ``--rounds`` says how often, ``--no-results`` only
prints. fasim's results are first compared with PyTorch's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
from gemm_peaks import peaks
from result_lines import append, provenance
from turns import Contender, Loop, clock_of, in_turns, times_faster

from fasim import kernels

RESULTS = Path(__file__).parent / "results" / "convs.jsonl"
BATCH, ROUNDS, TURN_S = 64, 15, 0.1
TOLERANCE = 1e-4
LAYOUTS = ("channels first", "channels last")


class Layer(NamedTuple):
    """Maps (size, size, inputs) and square kernels that keep the size."""

    size: int
    inputs: int
    channels: int
    kernel: int

    def __str__(self) -> str:
        return f"{self.size}x{self.size}x{self.inputs}-{self.channels}c{self.kernel}"


LAYERS = (Layer(28, 1, 32, 5), Layer(32, 3, 32, 3), Layer(32, 32, 32, 3))


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Return a float32 array as int8, three standard deviations at full scale."""
    return np.clip(np.rint(array * 42), -128, 127).astype(np.int8)


def bytes_forward(act: np.ndarray, weight: np.ndarray, padding: int, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return the forward pass of bytes, with exact sums."""
    a, w, bias, out = as_bytes(act), as_bytes(weight), np.zeros(len(weight), np.int16), np.empty(shape, np.int32)
    return lambda: kernels.conv_forward_fixed(a, w, bias, 0, 0, 1, padding, out)


def bytes_gradient(act: np.ndarray, weight: np.ndarray, padding: int, delta: np.ndarray) -> Callable[[], None]:
    """Return the weight gradient of bytes, with exact sums."""
    a, d, out = as_bytes(act), as_bytes(delta), np.empty(weight.shape, np.int32)
    return lambda: kernels.conv_weight_gradient_fixed(d, a, 0, 1, padding, out)


def contenders(layer: Layer) -> dict[str, dict[str, Contender]]:
    """Return calls for the forward pass and for the weight gradient, compared with each other."""
    import torch

    torch.set_num_threads(1)
    random, padding = np.random.default_rng(0), layer.kernel // 2
    shapes = {
        "act": (BATCH, layer.size, layer.size, layer.inputs),
        "weight": (layer.channels, layer.kernel, layer.kernel, layer.inputs),
        "delta": (BATCH, layer.size, layer.size, layer.channels),
    }
    act, weight, delta = (random.standard_normal(shape, np.float32) for shape in shapes.values())
    bias = random.standard_normal(layer.channels, np.float32)
    out, gradient = np.empty_like(delta), np.empty_like(weight)
    found: dict[str, dict[str, Contender]] = {
        "forward": {"fasim": Loop(lambda: kernels.conv_forward(act, weight, bias, 1, padding, out))},
        "weight gradient": {"fasim": Loop(lambda: kernels.conv_weight_gradient(delta, act, 0, 1, padding, gradient))},
    }
    for calls in found.values():
        calls["fasim"].run(1)
    found["forward"]["fasim int8"] = Loop(bytes_forward(act, weight, padding, delta.shape))
    found["weight gradient"]["fasim int8"] = Loop(bytes_gradient(act, weight, padding, delta))
    b = torch.from_numpy(bias)
    window = [layer.channels], [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [False, True, False]
    for layout, order in zip(LAYOUTS, (torch.contiguous_format, torch.channels_last), strict=True):
        x, w, d = (torch.from_numpy(m).permute(0, 3, 1, 2).contiguous(memory_format=order) for m in (act, weight, delta))

        def forward(x: Any = x, w: Any = w) -> Any:  # noqa: ANN401 - tensors
            return torch.conv2d(x, w, b, 1, padding)

        def backward(x: Any = x, w: Any = w, d: Any = d) -> Any:  # noqa: ANN401
            return torch.ops.aten.convolution_backward(d, x, w, *window)[1]

        for name, call, own in (("forward", forward, out), ("weight gradient", backward, gradient)):
            peer = call().permute(0, 2, 3, 1).numpy()
            if np.abs(own - peer).max() > TOLERANCE * np.abs(peer).max():
                raise SystemExit(f"{name} of {layer} differs from PyTorch, {layout}")
            found[name][layout] = Loop(call)
    return found


def main() -> int:
    """Run all and print a line each; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    if not machine.torch_is_there():
        print("PyTorch is absent: pip install -e '.[oracle]'", file=sys.stderr)
        return 2
    print(machine.header(with_torch=True))
    for layer in LAYERS:
        for name, calls in contenders(layer).items():
            peak = peaks().get("float32")
            calls |= {} if peak is None else {"peak": Loop(peak.call)}
            times = in_turns(calls, given.rounds, dict.fromkeys(calls, TURN_S), clock_of(1))
            operations = 2 * BATCH * layer.size**2 * layer.channels * layer.kernel**2 * layer.inputs
            rates = {c: (peak.operations if c == "peak" else operations) / t.median / 1e9 for c, t in times.items()}
            line = {
                "layer": str(layer),
                "what": name,
                "batch": BATCH,
                "giga_operations_per_s": {c: round(rate, 1) for c, rate in rates.items()},
                "times_faster_than": {c: round(times_faster(times["fasim"], times[c]), 2) for c in LAYOUTS},
                "int8_times_own_float32": round(times_faster(times["fasim int8"], times["fasim"]), 2),
                "share_of_peak": round(rates["fasim"] / rates["peak"], 3) if "peak" in rates else None,
                "rounds": given.rounds,
                "command": "python benchmarks/convs.py",
            }
            line |= provenance() | machine.describe(with_torch=True)
            print(layer, name, line["giga_operations_per_s"], line["times_faster_than"], flush=True)
            if not given.no_results:
                append(RESULTS, line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
