"""Which kernels a program multiplies integer matrices with, and that all of them leave the same bits behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest
from fasim_cuda import Tile

from fasim import backends
from fasim.backends.cuda import CudaProgram
from fasim.backends.cuda_bind import DeviceArray, Grid
from fasim.backends.cuda_products import VARIABLE, way_of
from fasim.errors import ConfigError
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import Schedule, StepSettings
from tests.cuda.test_cuda_programs import ran

# 21 inputs are no whole number of words, nor are 3 samples
NET, SIZE = "21-10-3", 3
MMA_GRID = Grid(8, 2, Tile(8, 2, 8))
LARGE, SMALL = (40, 50, 60), (40, 50, 31)


def schedule_of(rule: str, datapath: str) -> Schedule:
    return training_step(Network.parse(NET), rule, StepSettings(SIZE), load_datapath(datapath))


def device_arrays(sizes: tuple[int, int, int], left: str, right: str, sums: str) -> list[DeviceArray]:
    rows, terms, columns = sizes
    shapes = ((rows, terms), left), ((columns, terms), right), ((rows, columns), sums)
    return [DeviceArray(np.zeros((1, *shape), dtype)) for shape, dtype in shapes]


@pytest.mark.parametrize("rule", ["bp", "dfa", "ifa"])
@pytest.mark.parametrize("way", ["loop", "dp4a", "mma"])
def test_every_way_leaves_the_bits_of_the_cpu(way: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, way)
    schedule = schedule_of(rule, "s8")
    expected, _ = ran(backends.get("cpu")(schedule), steps=1, net=NET)
    program = CudaProgram(schedule, grid=MMA_GRID)
    found, _ = ran(program, steps=1, net=NET)
    assert way in program.ways
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_bytes_take_dp4a_and_wider_numbers_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for datapath, expected in (("s8", "dp4a"), ("s16", "loop"), ("float32", None)):
        program = CudaProgram(schedule_of("dfa", datapath))
        ran(program, steps=1, net=NET)
        assert (expected in program.ways) if expected else not program.ways
        assert "mma" not in program.ways


@pytest.mark.parametrize(
    ("asked", "cores", "sizes", "types", "tile", "expected"),
    [
        ("", True, LARGE, ("int8", "int8", "int32"), Tile(16, 4, 16), "mma"),
        ("", True, LARGE, ("uint8", "int8", "int32"), Tile(16, 4, 16), "mma"),
        ("", True, SMALL, ("int8", "int8", "int32"), Tile(16, 4, 16), "dp4a"),
        ("", False, LARGE, ("int8", "int8", "int32"), Tile(16, 4, 16), "dp4a"),
        ("", True, LARGE, ("int8", "int8", "int32"), Tile(2, 2, 4), "dp4a"),
        ("", True, LARGE, ("int8", "int16", "int32"), Tile(16, 4, 16), "loop"),
        ("", True, LARGE, ("int16", "int8", "int32"), Tile(16, 4, 16), "loop"),
        ("", True, LARGE, ("int8", "int8", "int64"), Tile(16, 4, 16), "loop"),
        ("loop", True, LARGE, ("int8", "int8", "int32"), Tile(16, 4, 16), "loop"),
        ("dp4a", True, LARGE, ("int8", "int8", "int32"), Tile(16, 4, 16), "dp4a"),
        ("dp4a", True, LARGE, ("int16", "int8", "int64"), Tile(16, 4, 16), "loop"),
        ("mma", False, SMALL, ("int8", "int8", "int32"), Tile(16, 4, 16), "mma"),
    ],
)
def test_the_way_is_chosen_by_types_sizes_and_device(
    asked: str,
    cores: bool,  # noqa: FBT001
    sizes: tuple[int, int, int],
    types: tuple[str, str, str],
    tile: Tile,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, asked)
    target: Any = SimpleNamespace(fits_mma=kernels.fits_mma, has_tensor_cores=lambda: cores)
    assert way_of(target, *device_arrays(sizes, *types), tile) == expected


def test_an_unknown_way_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "wgmma")
    with pytest.raises(ConfigError, match="FASIM_CUDA_PRODUCTS=wgmma: one of loop, dp4a, mma, cublas is needed"):
        ran(CudaProgram(schedule_of("dfa", "s8")), steps=1, net=NET)
