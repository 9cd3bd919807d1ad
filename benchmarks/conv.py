"""Convolutions beside PyTorch's two layouts and this CPU's own peak, one JSON line a layer, direction and type.

``python benchmarks/conv.py`` times all contenders in turns, A B A B, in one process, on one thread, by CPU time, and
appends to ``benchmarks/results/conv.jsonl``; ``--rounds`` says how often, ``--no-results`` only prints. Forward and weight
gradient are compared with PyTorch's first. PyTorch has float32 alone: bytes are compared with that, and with our own
float32. A peak is what a loop of the same instruction on registers reaches; where a window is small, memory is what counts:
for each number of a map of 32 channels, a window of 3 x 3 x 3 has 27 products. Only ratios and shares of the peak mean
anything elsewhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gemm_peaks import peaks
from gemms import aligned, median_times
from result_lines import append, provenance

from fasim import kernels
from fasim.kernels import micro

RESULTS = Path(__file__).parent / "results" / "conv.jsonl"
BATCH = 64
# height and width, channels, units, side, padding
LAYERS = ((28, 1, 32, 5, 2), (32, 3, 32, 3, 1), (32, 32, 32, 3, 1))
ROUNDS = 25
DIRECTIONS = ("forward", "weight gradient")


def drawn(shape: tuple[int, ...], dtype: Any, random: np.random.Generator) -> np.ndarray:  # noqa: ANN401
    """Return an array of random numbers that begins at a cache line."""
    array = aligned((1, int(np.prod(shape))), dtype).reshape(shape)
    info = None if dtype == np.float32 else np.iinfo(dtype)
    if info is None:
        array[...] = random.standard_normal(shape)
    else:
        array[...] = random.integers(info.min, info.max, shape, endpoint=True)
    return array


def ours(dtype: Any, layer: tuple[int, ...], random: np.random.Generator) -> tuple[dict[str, Any], list[np.ndarray]]:  # noqa: ANN401
    """Return our calls by direction, and the map, weights, deltas and both results."""
    size, channels, units, side, padding = layer
    wide = np.float32 if dtype == np.float32 else np.int32
    rest = size + 2 * padding - side + 1
    act, weight = drawn((BATCH, size, size, channels), dtype, random), drawn((units, side, side, channels), dtype, random)
    delta = drawn((BATCH, rest, rest, units), dtype, random)
    out, gradient = drawn(delta.shape, wide, random), drawn(weight.shape, wide, random)
    if dtype == np.float32:
        bias = np.zeros(units, dtype)
        calls = {
            "forward": lambda: kernels.conv_forward(act, weight, bias, 1, padding, out),
            "weight gradient": lambda: kernels.conv_weight_gradient(delta, act, 0, 1, padding, gradient),
        }
    else:
        bias = np.zeros(units, np.int16)
        calls = {
            "forward": lambda: kernels.conv_forward_fixed(act, weight, bias, 0, 0, 1, padding, out),
            "weight gradient": lambda: kernels.conv_weight_gradient_fixed(delta, act, 0, 1, padding, gradient),
        }
    return calls, [act, weight, delta, out, gradient]


def theirs(arrays: list[np.ndarray], padding: int) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return PyTorch's calls by direction and layout."""
    import torch

    torch.set_num_threads(1)
    calls: dict[str, dict[str, Callable[[], Any]]] = {direction: {} for direction in DIRECTIONS}
    for name, layout in (("NCHW", torch.contiguous_format), ("channels_last", torch.channels_last)):
        x, w, d = (
            torch.from_numpy(a.astype(np.float32)).permute(0, 3, 1, 2).contiguous(memory_format=layout) for a in arrays[:3]
        )

        def forward(x: Any = x, w: Any = w) -> Any:  # noqa: ANN401
            with torch.no_grad():
                return torch.nn.functional.conv2d(x, w, None, 1, padding)

        def gradient(x: Any = x, w: Any = w, d: Any = d) -> Any:  # noqa: ANN401
            window = [1, 1], [padding, padding], [1, 1], False, [0, 0], 1
            return torch.ops.aten.convolution_backward(d, x, w, None, *window, [False, True, False])[1]

        calls["forward"][f"torch {name}"] = forward
        calls["weight gradient"][f"torch {name}"] = gradient
    return calls


def prove(found: np.ndarray, tensor: Any) -> None:  # noqa: ANN401
    """Compare a result with PyTorch's, whose float32 rounds sums of large integers too."""
    expected = tensor.permute(0, 2, 3, 1).numpy()
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()):
        raise SystemExit("a convolution is wrong")


def main() -> None:
    """Run all and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-results", action="store_true", help="print only")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    for layer in LAYERS:
        floats, arrays = ours(np.float32, layer, random)
        bytes_, integers = ours(np.int8, layer, random)
        other, of_integers = theirs(arrays, layer[-1]), theirs(integers, layer[-1])
        for direction in DIRECTIONS:
            for calls, checked, data in ((floats, other, arrays), (bytes_, of_integers, integers)):
                calls[direction]()
                prove(data[3 if direction == "forward" else 4], checked[direction]["torch NCHW"]())
            highest = peaks()
            named = {"float32": highest["float32"].call, "int8": highest["int8"].call} if highest else {}
            seconds = median_times(
                {"float32": floats[direction], "int8": bytes_[direction]}
                | other[direction]
                | {f"peak {name}": call for name, call in named.items()},
                given.rounds,
            )
            operations = 2 * integers[2].size * integers[1][0].size
            counts = {f"peak {name}": highest[name].operations for name in named}
            rates = {name: counts.get(name, operations) / taken / 1e9 for name, taken in seconds.items()}
            best = max(rate for name, rate in rates.items() if name.startswith("torch"))
            line = {
                "layer": layer,
                "direction": direction,
                "batch": BATCH,
                "giga_operations_per_s": {name: round(rate, 1) for name, rate in rates.items()},
                "times_torch": {name: round(rates[name] / best, 2) for name in ("float32", "int8")},
                "times_own_float32": round(rates["int8"] / rates["float32"], 2),
                "share_of_peak": {name: round(rates[name] / rates[f"peak {name}"], 3) for name in named},
                "target": micro.TARGET,
                "rounds": given.rounds,
                "command": "python benchmarks/conv.py",
            } | provenance()
            line["versions"]["torch"] = version("torch")
            print(layer, direction, line["giga_operations_per_s"], line["times_torch"], line["share_of_peak"], flush=True)
            if not given.no_results:
                append(RESULTS, line)


if __name__ == "__main__":
    main()
