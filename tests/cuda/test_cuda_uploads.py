"""What goes to the device lies there as its shape says, which the simulator, made of NumPy arrays, does not ask for.

numba-cuda reads the stride 0, which NumPy gives an axis that was added by indexing, as an array that repeats: no kernel
would be the one that was compiled ahead, and no array of a single network could be reshaped.
"""

from __future__ import annotations

from typing import Any

import fasim_cuda as kernels
import numpy as np
import pytest

from fasim.backends import Samples
from fasim.backends.cuda import CudaProgram
from fasim.backends.cuda_bind import upload
from fasim.fixedpoint import load_datapath
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate
from tests.cuda_runs import quick_switches


def lies_as_its_shape_says(array: np.ndarray) -> bool:
    return array.strides == np.empty(array.shape, array.dtype).strides


def test_an_axis_of_replicas_that_was_added_by_indexing() -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert not lies_as_its_shape_says(np.ascontiguousarray(array[None]))
    sent: list[np.ndarray] = []

    class Device:
        class cuda:  # noqa: N801 - as the module of kernels has it
            @staticmethod
            def to_device(given: np.ndarray) -> np.ndarray:
                sent.append(given)
                return given

    found: Any = upload(Device, array[None])  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.array[0], array)
    assert lies_as_its_shape_says(sent[0])


@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("datapath", ["float32", "s8", "s8_stoch"])
def test_arrays_of_one_network(datapath: str, observe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    to_device, sent = kernels.cuda.to_device, []

    def watched(array: np.ndarray, *given: Any, **more: Any) -> Any:  # noqa: ANN401
        sent.append(array)
        return to_device(array, *given, **more)

    monkeypatch.setattr(kernels.cuda, "to_device", watched)
    network = Network.parse("6-5-4")
    schedule = training_step(network, "dfa", StepSettings(2), load_datapath(datapath))
    state = initial_state(network, schedule, 3)
    set_learning_rate(state, schedule, 0.125)
    random = np.random.default_rng(2)
    real = np.ones(6, np.float32) if datapath == "float32" else None
    data = Samples(random.integers(0, 256, (4, 6), dtype=np.uint8), random.integers(0, 4, 4), real, real)
    with quick_switches():
        CudaProgram(schedule, observe=observe).run(state, data, np.arange(4), 0)
    assert len(sent) > 10
    assert [array.shape for array in sent if array.size and not lies_as_its_shape_says(array)] == []
