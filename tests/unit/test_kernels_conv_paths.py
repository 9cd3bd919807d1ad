"""Convolutions give the same bits on every path that this CPU can run, and write and read nothing beside their arrays."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numba import njit

from fasim import kernels
from fasim.kernels import micro
from fasim.kernels.micro import correlate
from tests.assembly import X86, assert_in_registers, counting, loops, machine_code, on_path
from tests.kernel_checks import check, new

# N, H, W, C, J, side, stride, padding
SHAPES = (
    (2, 9, 8, 3, 5, 3, 1, 1),
    (1, 12, 11, 1, 33, 5, 1, 2),
    (2, 8, 7, 5, 16, 3, 2, 1),
    (1, 6, 7, 35, 40, 2, 3, 0),
    (1, 15, 15, 8, 64, 3, 1, 0),
    (3, 5, 5, 2, 7, 3, 1, 4),
)
# of map, weights and deltas
TYPES = (
    (np.float32, np.float32, np.float32),
    (np.int8, np.int8, np.int8),
    (np.uint8, np.int8, np.int8),
    (np.int16, np.int16, np.int16),
)
# uint8 runs by the same tiles as int8
TYPES_OF_PATHS = (TYPES[0], TYPES[1], TYPES[3])
NAMES = [np.dtype(first).name for first, *_ in TYPES]


def drawn(dtype: Any, shape: tuple[int, ...], seed: int) -> np.ndarray:  # noqa: ANN401
    """Return numbers over the whole range of a type."""
    random = np.random.default_rng([seed, *shape])
    if dtype == np.float32:
        return random.standard_normal(shape, dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, shape, dtype, endpoint=True)


def calls(types: tuple[Any, Any, Any], shape: tuple[int, ...]) -> list[tuple[Any, tuple[Any, ...], int]]:
    """Return each kernel, its arguments and the position of what it writes."""
    samples, height, width, channels, units, side, stride, padding = shape
    p, q = ((size + 2 * padding - side) // stride + 1 for size in (height, width))
    act, weight, delta = (
        drawn(dtype, size, seed)
        for seed, (dtype, size) in enumerate(
            zip(
                types,
                ((samples, height, width, channels), (units, side, side, channels), (samples, p, q, units)),
                strict=True,
            )
        )
    )
    bias = drawn(types[2], (units,), 4)
    window = stride, padding
    if types[0] == np.float32:
        return [
            (kernels.conv_forward, (act, weight, bias, *window, new(np.float32, *delta.shape)), 5),
            (kernels.conv_input_gradient, (delta, weight, np.float32(0.3), *window, new(np.float32, *act.shape)), 5),
            (kernels.conv_weight_gradient, (delta, act, 0, *window, new(np.float32, *weight.shape)), 5),
        ]
    return [
        (kernels.conv_forward_fixed, (act, weight, bias, 2, 1, *window, new(np.int32, *delta.shape)), 7),
        (kernels.conv_input_gradient_fixed, (delta, weight, *window, new(np.int32, *act.shape)), 4),
        (kernels.conv_weight_gradient_fixed, (delta, act, 0, *window, new(np.int32, *weight.shape)), 5),
    ]


def digests() -> list[str]:
    """Return a hash of the results of all kernels for each of the types."""
    hashes = []
    for types in TYPES_OF_PATHS:
        found = hashlib.sha256()
        for shape in SHAPES:
            for kernel, arguments, position in calls(types, shape):
                kernel(*arguments)
                found.update(arguments[position].tobytes())
        hashes.append(found.hexdigest())
    return hashes


@X86
@pytest.mark.parametrize(
    ("cpu", "features", "target", "fused"),
    [
        ("haswell", "", "avx2", True),
        ("skylake-avx512", "", "avx512", True),
        ("generic", "", "portable", False),
        ("generic", "+fma", "portable", True),
    ],
)
def test_same_bits_on_every_path(cpu: str, features: str, target: str, fused: bool) -> None:
    hashes = on_path(digests, cpu, target, features, fused=fused)
    first = 0 if fused == micro.FUSED else 1  # float32 needs the same rounding of products
    assert hashes[first:] == digests()[first:]


@pytest.mark.parametrize("types", TYPES, ids=NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_only_the_result_is_written_and_nothing_beside_is_read(shape: tuple[int, ...], types: tuple[Any, ...]) -> None:
    for kernel, arguments, position in calls(types, shape):
        kernel(*arguments)
        expected = arguments[position].copy()
        check(kernel, arguments, {position: expected})


# instruction of each inner loop, and the sums of a tile
INSTRUCTIONS = {
    "float32": {name: "vfmadd231ps" for name in ("avx512vnni", "avx512", "avx2")},
    "bytes": {"avx512vnni": "vpdpbusd"},
    "words": {"avx512vnni": "vpdpwssd", "avx512": "vpmaddwd", "avx2": "vpmaddwd"},
}


@pytest.mark.parametrize("form", ["correlate", "gradient"])
@pytest.mark.parametrize("kind", INSTRUCTIONS)
def test_assembly(form: str, kind: str) -> None:
    """The inner loop forms sums by the instruction that the target has for it and lays none down on the stack."""
    instruction = INSTRUCTIONS[kind].get(micro.TARGET)
    if instruction is None:
        pytest.skip(f"no register tiles of {kind} for the target {micro.TARGET}")
    # A cached function cannot be inspected: compiled anew, for the arrays of a small call
    function = njit(error_model="numpy")(getattr(correlate, f"{form}_{kind}").py_func)
    number = np.float32 if kind == "float32" else np.int32
    image, table = np.zeros(64, number), np.zeros(16, np.int64)
    if form == "correlate":
        packed = np.zeros((1, 1, correlate.PANEL, 1), number)
        function(image, table, 1, 4, 1, 1, packed, np.zeros(2, number), number(1), table, np.zeros(4, number))
    else:
        function(image, table, 4, 4, np.zeros((1, 1, 2, 1), number), True, np.zeros((1, 2), number))
    assert_in_registers(counting(loops(machine_code(function)), instruction, 2 * correlate.ROWS))
