"""Updates fused with their gradient: the formulas in float64, the single kernels to the bit, every remainder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from numba import float32, int64, njit, types

from fasim import kernels
from fasim.kernels import micro
from fasim.kernels.micro import panels_optimize
from tests.assembly import (
    LINUX,
    PATHS,
    X86,
    assert_in_registers,
    assert_unharmed,
    at_an_edge,
    blocks,
    counting,
    machine_code,
    on_path,
)
from tests.kernel_checks import check, inside
from tests.unit.test_micro_outer import DECAYS, drawn, product_of

RATE, STEP, MU = 0.03, 6, 0.9
ALPHA, BETA1, BETA2, EPS = 0.99, 0.9, 0.999, 1e-8
# kernel: its states, and how many numbers its tiles take
OPTIMIZERS = {"momentum": (1, 4), "nesterov": (1, 4), "rmsprop": (1, 6), "adam": (2, 9)}
SHAPES = (*product((1, 6, 8, 31), (1, 16, 40, 64, 70, 257), (0, 1, 4, 17)), (25, 130, 300), (13, 65, 129))


def numbers(name: str, decay: float = 0.0, kind: int = 0) -> tuple[Any, ...]:
    rate, last = np.array([RATE]), (np.float32(decay), kind)
    if name == "adam":
        return rate, np.array([STEP]), BETA1, BETA2, EPS, *last
    return (rate, ALPHA, EPS, *last) if name == "rmsprop" else (rate, np.float32(MU), *last)


def matrices(name: str, rows: int, columns: int) -> list[np.ndarray]:
    """Return weights and states: squares are not negative, and some numbers are 0, whose sign counts."""
    random = np.random.default_rng([rows, columns])
    found = [random.standard_normal((rows, columns), np.float32) for _ in range(1 + OPTIMIZERS[name][0])]
    for one in found:
        one.flat[::7] = -0.0
    if name in ("rmsprop", "adam"):
        found[-1] = abs(found[-1])
    return found


def fused(name: str) -> Callable[..., None]:
    return getattr(micro, f"{name}_tn_float32")


def one_after_the_other(name: str, a: np.ndarray, b: np.ndarray, held: list[np.ndarray], given: tuple[Any, ...]) -> None:
    weight, *states = (one.reshape(-1) for one in held)
    getattr(kernels, name)(weight, product_of(a, b).reshape(-1), *states, *given)


def stated(name: str, g: np.ndarray, held: list[np.ndarray], decay: float, kind: int) -> list[np.ndarray]:
    """Return weights and states after a step, in float64 and by the formulas of the papers."""
    w, *states = (one.astype(np.float64) for one in held)
    g = g + (decay * w if kind == 0 else 0)
    shrink = (0, decay, RATE * decay)[kind] * w
    match name:
        case "momentum":
            new = [MU * states[0] + g]
            step = new[0]
        case "nesterov":
            new = [MU * states[0] + g]
            step = g + MU * new[0]
        case "rmsprop":
            new = [ALPHA * states[0] + (1 - ALPHA) * g**2]
            step = g / (np.sqrt(new[0]) + EPS)
        case _:
            new = [BETA1 * states[0] + (1 - BETA1) * g, BETA2 * states[1] + (1 - BETA2) * g**2]
            t = STEP + 1
            step = new[0] / (1 - BETA1**t) / (np.sqrt(new[1] / (1 - BETA2**t)) + EPS)
    return [w - RATE * step - shrink, *new]


@pytest.mark.parametrize(("decay", "kind"), DECAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_formula(name: str, decay: float, kind: int) -> None:
    for rows, columns, terms in ((7, 70, 5), (13, 33, 1), (6, 64, 17)):
        a, b = drawn(terms, rows, columns)
        held = matrices(name, rows, columns)
        expected = stated(name, a.T.astype(np.float64) @ b, held, decay, kind)
        fused(name)(a, b, *held, *numbers(name, decay, kind))
        for found, exact in zip(held, expected, strict=True):
            # a step of RMSprop and Adam is of the size of the rate, however small its gradient: rounding may turn it round
            np.testing.assert_allclose(found, exact, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize(("decay", "kind"), DECAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_gradient_then_the_optimizer_to_the_bit(name: str, decay: float, kind: int) -> None:
    given = numbers(name, decay, kind)
    for rows, columns, terms in SHAPES:
        a, b = drawn(terms, rows, columns)
        before = matrices(name, rows, columns)
        together, apart = [one.copy() for one in before], [one.copy() for one in before]
        fused(name)(a, b, *together, *given)
        one_after_the_other(name, a, b, apart, given)
        for position, (x, y) in enumerate(zip(together, apart, strict=True)):
            assert x.tobytes() == y.tobytes(), (rows, columns, terms, position)
        if terms:
            assert not np.array_equal(together[0], before[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_that_are_none(name: str) -> None:
    """A weight that diverged, a state of 0 and a gradient of 0 are treated as the optimizer alone treats them."""
    a, b = drawn(3, 9, 70)
    b[:, 5], b[0, 6] = 0, np.inf
    together = matrices(name, 9, 70)
    for one in together:
        one[:, 5], one[2], one[3, 7] = 0, 0, np.nan
    together[0][4] = np.inf
    apart = [one.copy() for one in together]
    fused(name)(a, b, *together, *numbers(name))
    one_after_the_other(name, a, b, apart, numbers(name))
    for x, y in zip(together, apart, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_weights_and_states_are_written_and_nothing_beside_is_read(name: str) -> None:
    for terms, rows, columns in ((3, 1, 300), (5, 7, 65), (1, 3, 17), (40, 26, 130)):
        a, b = drawn(terms, rows, columns)
        held = matrices(name, rows, columns)
        after = [one.copy() for one in held]
        one_after_the_other(name, a, b, after, numbers(name))
        check(fused(name), (a, b, *held, *numbers(name)), dict(enumerate(after, 2)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_row_knows_no_other_rows(name: str) -> None:
    a, b = drawn(6, 37, 140)
    whole, parts = matrices(name, 37, 140), matrices(name, 37, 140)
    fused(name)(a, b, *whole, *numbers(name))
    for i, j in pairwise((0, 1, 3, 30, 37)):
        fused(name)(a[:, i:j], b, *(one[i:j] for one in parts), *numbers(name))
    for x, y in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_layouts(name: str) -> None:
    """Rows that are apart, and states before the weights in memory."""
    a, b = drawn(9, 27, 70)
    plain = matrices(name, 27, 70)
    memory = np.full((len(plain), 54, 80), 99, np.float32)
    apart = [one[::2, 4:74] for one in memory[::-1]]
    for place, one in zip(apart, plain, strict=True):
        place[...] = one
    fused(name)(a, b, *plain, *numbers(name))
    fused(name)(np.asfortranarray(a), b, *apart, *numbers(name))
    for place, one in zip(apart, plain, strict=True):
        np.testing.assert_array_equal(place, one)
        place[...] = 99
    assert (memory == 99).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_inside_a_compiled_function(name: str) -> None:
    a, b = drawn(5, 9, 40)
    held, apart = matrices(name, 9, 40), matrices(name, 9, 40)
    inside(fused(name))(a, b, *held, *numbers(name))
    one_after_the_other(name, a, b, apart, numbers(name))
    np.testing.assert_array_equal(held[0], apart[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_refusals(name: str) -> None:
    a, b = np.zeros((4, 3), np.float32), np.zeros((4, 5), np.float32)
    weight, *states = matrices(name, 3, 5)
    for wrong in ((a[:3], b, weight), (a[:, :2], b, weight), (a, b[:, :4], weight)):
        with pytest.raises(ValueError, match=r"needs shapes \(K, R\) or \(R, K\), \(K, C\) and \(R, C\)"):
            fused(name)(*wrong, *states, *numbers(name))
    with pytest.raises(ValueError, match="side by side; copy by numpy.ascontiguousarray"):
        fused(name)(a, b[:, ::-1], weight, *states, *numbers(name))
    for wrong_state in (states[-1][:2], np.zeros((3, 6), np.float32)[:, :5], np.zeros((5, 3), np.float32).T):
        with pytest.raises(ValueError, match="needs states of the weights' shape, in rows as far apart as theirs"):
            fused(name)(a, b, weight, *states[:-1], wrong_state, *numbers(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_assembly(name: str) -> None:
    """The inner loop of whole tiles is fused multiply-adds, whose sums are not laid down on the stack."""
    if micro.TARGET == "portable":
        pytest.skip("no register tiles for the target portable")
    states, given = OPTIMIZERS[name]
    function = njit(error_model="numpy")(getattr(panels_optimize, f"panels_{name}").py_func)
    function.compile((*[int64] * 10, types.Tuple((*[int64] * states, *[float32] * given))))
    sums = 12 if micro.TARGET == "avx2" else 24
    assert_in_registers(counting(blocks(machine_code(function)).values(), "vfmadd231ps", sums))


def edges() -> None:
    kept: list[Any] = []
    shapes = ((1, 1, 1), (3, 1, 260), (5, 7, 17), (9, 6, 64), (5, 30, 70))
    for name, (terms, rows, columns), front in product(OPTIMIZERS, shapes, (True, False)):
        a, b = drawn(terms, rows, columns)
        held = matrices(name, rows, columns)
        moved = [at_an_edge(one, front, kept) for one in (a, b, *held)]
        fused(name)(*moved, *numbers(name))
        one_after_the_other(name, a, b, held, numbers(name))
        for x, y in zip(moved[2:], held, strict=True):
            np.testing.assert_array_equal(x, y)


@LINUX
def test_nothing_beyond_a_page_is_touched() -> None:
    """Arrays end, or begin, where memory does: a row or a vector too many is the end of that process."""
    assert_unharmed(edges)


def digest() -> str:
    """Return a hash of weights and states for sizes that meet a remainder."""
    found = hashlib.sha256()
    for name, rows, columns, terms in product(OPTIMIZERS, (1, 6, 25), (1, 17, 64, 257), (1, 5, 129)):
        a, b = drawn(terms, rows, columns)
        held = matrices(name, rows, columns)
        fused(name)(a, b, *held, *numbers(name, 0.01, 0))
        for one in held:
            found.update(one.tobytes())
    return found.hexdigest()


@X86
@PATHS
def test_same_bits_on_every_path(cpu: str, features: str, target: str) -> None:
    assert on_path(digest, cpu, target, features, fused=True) == [digest()]
