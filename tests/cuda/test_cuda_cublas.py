"""Products of float32 by cuBLAS: what it is asked for, on a stand-in that knows matrices by columns, in NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import fasim_cuda
import numpy as np
import pytest
from fasim_cuda import cublas, graphs
from fasim_cuda.target import is_simulated

from fasim.backends import cuda_products
from fasim.backends.cuda import CudaProgram
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from tests.cuda.test_cuda_population import orders, samples, states_of
from tests.cuda_runs import quick_switches

N, I, J, R = 3, 5, 4, 2  # noqa: E741 - the letters of the docstrings
HANDLE, PEDANTIC, HOST, OP_N, OP_T = 77, 2, 0, 0, 1


class NullStream:
    """The stream that all launches go to, while it is the current one."""

    def __init__(self) -> None:
        self.is_current = False

    def __enter__(self) -> None:
        self.is_current = True

    def __exit__(self, *_: object) -> None:
        self.is_current = False


class Library:
    """CuPy's binding of cuBLAS as far as fasim uses it; matrices by columns, numbers behind addresses."""

    CUBLAS_OP_N, CUBLAS_OP_T = OP_N, OP_T
    CUBLAS_POINTER_MODE_HOST = HOST

    def __init__(self) -> None:
        self.stream, self.calls, self.settings = NullStream(), list[dict[str, Any]](), list[tuple[str, int]]()

    def create(self) -> int:
        return HANDLE

    def setMathMode(self, handle: int, mode: int) -> None:  # noqa: N802 - CuPy's names
        assert handle == HANDLE
        self.settings.append(("math", mode))

    def setPointerMode(self, handle: int, mode: int) -> None:  # noqa: N802
        assert handle == HANDLE
        self.settings.append(("pointer", mode))

    def sgemmStridedBatched(  # noqa: N802
        self,
        handle: int,
        turn_a: int,
        turn_b: int,
        m: int,
        n: int,
        k: int,
        alpha: int,
        a: int,
        lda: int,
        stride_a: int,
        b: int,
        ldb: int,
        stride_b: int,
        beta: int,
        c: int,
        ldc: int,
        stride_c: int,
        count: int,
    ) -> None:
        assert (handle, self.stream.is_current) == (HANDLE, True)
        self.calls.append({"turns": (turn_a, turn_b), "sizes": (m, n, k), "lead": (lda, ldb, ldc), "count": count})
        self.calls[-1]["strides"] = stride_a, stride_b, stride_c
        factor, kept = (numbers(address, 1)[0] for address in (alpha, beta))
        for one in range(count):
            # shapes as they lie, by columns: before a turn
            left = by_columns(a + 4 * one * stride_a, *((m, k) if turn_a == OP_N else (k, m)), lda)
            right = by_columns(b + 4 * one * stride_b, *((k, n) if turn_b == OP_N else (n, k)), ldb)
            out = by_columns(c + 4 * one * stride_c, m, n, ldc)
            found = (left if turn_a == OP_N else left.T) @ (right if turn_b == OP_N else right.T)
            out[...] = factor * found + (kept * out if kept else 0)


def numbers(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def by_columns(address: int, rows: int, columns: int, lead: int) -> np.ndarray:
    """Return a matrix whose column c begins at c * lead; a leading dimension below the rows is refused, as by cuBLAS."""
    assert lead >= rows
    return numbers(address, lead * columns).reshape(columns, lead)[:, :rows].T


class OnDevice:
    """An array that says where it lies, as those of a GPU do."""

    def __init__(self, host: np.ndarray) -> None:
        self.host, self.shape = host, host.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"data": (self.host.ctypes.data, False), "shape": self.shape, "typestr": "<f4", "version": 3}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    made = Library()
    monkeypatch.setattr(cublas, "is_simulated", False)
    monkeypatch.setattr(cublas, "loaded", lambda: (made, made.stream))
    monkeypatch.setenv(cuda_products.VARIABLE, "cublas")
    cublas.handle.cache_clear()
    yield made
    cublas.handle.cache_clear()


SHAPES: dict[str, tuple[tuple[int, int], tuple[int, int], str]] = {
    "forward": ((N, I), (J, I), "rni,rji->rnj"),
    "project": ((N, I), (I, J), "rnk,rkj->rnj"),
    "gradient": ((N, J), (N, I), "rnj,rni->rji"),
}


@pytest.mark.parametrize("shared", [None, 0, 1], ids=["each its own", "left shared", "right shared"])
@pytest.mark.parametrize("name", SHAPES)
def test_products_of_all_replicas_are_one_call(name: str, shared: int | None, library: Library) -> None:
    random = np.random.default_rng(5)
    *shapes, text = SHAPES[name]
    hosts = [
        random.standard_normal((1 if place == shared else R, *shape), np.float32) for place, shape in enumerate(shapes)
    ]
    expected = np.einsum(text, *(np.broadcast_to(one, (R, *one.shape[1:])) for one in hosts).__iter__()) * 0.5
    out = np.full(expected.shape, np.nan, np.float32)
    product = getattr(fasim_cuda.cublas_products(), name)
    launch = product.of([True, True, False, True])[((1, 1, R), (2, 2))]
    launch(*map(OnDevice, hosts), np.float32(0.5), OnDevice(out))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    (call,) = library.calls
    assert call["count"] == R
    left, right = (0 if place == shared else one[0].size for place, one in enumerate(hosts))
    assert call["strides"] == (right, left, out[0].size)
    assert call["lead"] == (hosts[1].shape[2], hosts[0].shape[2], out.shape[2])
    assert library.settings == [("math", PEDANTIC), ("pointer", HOST)]


@pytest.mark.skipif(not is_simulated, reason="the stand-in reads the simulator's arrays")
@pytest.mark.parametrize("rule", ["bp", "dfa", "lafs"])
def test_a_population_by_cublas_is_that_of_the_tiles(rule: str, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """All dense products go to cuBLAS; last bits differ, by less than what the page allows."""
    monkeypatch.setattr(cublas, "address", lambda array: array._ary.ctypes.data)
    schedule = training_step(Network.parse("6-5-4"), rule, StepSettings(2), None)
    found, expected = states_of(schedule), states_of(schedule)
    with quick_switches():
        program = CudaProgram(schedule)
        program.run_together(found, samples(), orders(), 0)
        monkeypatch.delenv(cuda_products.VARIABLE)
        CudaProgram(schedule).run_together(expected, samples(), orders(), 0)
    for state, other in zip(found, expected, strict=True):
        for name, array in other.items():
            np.testing.assert_allclose(state[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    products = [op for op in schedule.ops if op.kind in ("DENSE", "PROJECT", "PROJECT_UP", "GRAD")]
    assert program.ways == {"cublas"}
    assert len(library.calls) == len(products) * len(orders()[0]) // 2
    assert {call["count"] for call in library.calls} == {3}


def test_bytes_are_multiplied_as_before(library: Library) -> None:
    schedule = training_step(Network.parse("6-5-4"), "bp", StepSettings(2), load_datapath("s8"))
    program = CudaProgram(schedule)
    with quick_switches():
        program.run(states_of(schedule)[0], samples(), orders()[0][:2], 0)
    assert "dp4a" in program.ways
    assert not library.calls


def refused(text: str) -> None:
    schedule = training_step(Network.parse("6-5-4"), "bp", StepSettings(2), None)
    with pytest.raises(ConfigError, match=text) as error:
        CudaProgram(schedule)
    assert "\n" not in str(error.value)


def test_the_simulator_has_no_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas, "is_simulated", True)
    monkeypatch.setenv(cuda_products.VARIABLE, "cublas")
    refused("FASIM_CUDA_PRODUCTS=cublas: the simulator has no cuBLAS; leave it out")


@pytest.mark.parametrize("missing", ["cupy", "cuBLAS"])
def test_what_is_missing_is_named_with_what_installs_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy 14 imports without cuBLAS, and raises ImportError where its attribute is asked for."""

    class WithoutLibrary:
        @property
        def cublas(self) -> None:
            raise ImportError("libcublasLt.so.13")

    def imported(name: str) -> Any:  # noqa: ANN401
        assert name == "cupy.cuda"
        if missing == "cupy":
            raise ImportError(name)
        return WithoutLibrary()

    monkeypatch.setattr(cublas, "is_simulated", False)
    monkeypatch.setattr(cublas, "import_module", imported)
    monkeypatch.setenv(cuda_products.VARIABLE, "cublas")
    cublas.loaded.cache_clear()
    refused(r"CuPy with cuBLAS is not installed; pip install 'fasim\[cuda-cublas\]'")
    cublas.loaded.cache_clear()


def test_recorded_steps_and_scales_of_each_replica_are_refused(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    product = fasim_cuda.cublas_products().project
    with pytest.raises(ConfigError, match="replicas whose scales differ are no one product"):
        product.of([True, True, True, True])
    monkeypatch.setattr(graphs, "is_simulated", False)
    monkeypatch.setenv(graphs.VARIABLE, "1")
    refused("its products are not recorded; leave out FASIM_CUDA_GRAPHS=1 or it")


def test_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cuda_products.VARIABLE, "fastest")
    refused("FASIM_CUDA_PRODUCTS=fastest: one of loop, dp4a, mma, cublas is needed")
