"""Launches that observe what a CUDA program writes; counters stay on the device until a run is over."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from fasim.backends.cuda_bind import Arrays, DeviceArray, Launch, flat, upload
from fasim.backends.observer import FLOAT_BINS, INTEGER_BINS, observed
from fasim.fixedpoint.statistics import TensorStatistics
from fasim.schedule import Op, Schedule, Tensor


class CudaCounters:
    """Counters of one tensor of one network on the device.

    Parameters
    ----------
    kernels : module
        ``fasim_cuda``.
    fixed : bool
        Whether the tensor holds integers.
    """

    def __init__(self, kernels: ModuleType, *, fixed: bool) -> None:
        self.kernels, self.fixed, ends = kernels, fixed, np.iinfo(np.int64)
        self.bins = self._upload(np.zeros(INTEGER_BINS if fixed else FLOAT_BINS, np.int64))
        if fixed:
            self.arrays = [self._upload(np.array([ends.max, ends.min, 0, 0], np.int64))]
        else:
            self.arrays = [self._upload(np.array([math.inf, -math.inf], np.float32)), self._upload(np.zeros(3, np.int64))]

    def _upload(self, array: np.ndarray) -> DeviceArray:
        return upload(self.kernels, array[None])

    def launch(self, array: DeviceArray) -> Launch:
        """Return the launch that observes an array."""
        kernel = self.kernels.observe if self.fixed else self.kernels.observe_float
        return Launch(kernel, (flat(array), self.bins, *self.arrays), array.size)

    def statistics(self, tensor: Tensor, layer: int) -> TensorStatistics:
        """Return what has been counted, for a tensor."""
        found = [number for array in self.arrays for number in array.copy_to_host()[0].tolist()]
        low, high, zeros, elements, *others = found
        bins = tuple(self.bins.copy_to_host()[0].tolist())
        return TensorStatistics(tensor.name, tensor.cls, layer, tensor.format, low, high, zeros, elements, bins, *others)


class CudaObserver:
    """What has been seen of each tensor that a schedule's ops write, and of the input.

    Parameters
    ----------
    kernels : module
    schedule : Schedule
    """

    def __init__(self, kernels: ModuleType, schedule: Schedule) -> None:
        self.kernels, self.schedule = kernels, schedule
        self.counters: dict[str, CudaCounters] = {}
        self.layers: dict[str, int] = {}

    def loaded(self, arrays: Arrays) -> list[Launch]:
        """Return the launches that observe the batch after it was loaded."""
        name = self.schedule.given("act")
        return [self._launch(name, arrays, 0)] if name else []

    def calls(self, op: Op, arrays: Arrays) -> list[Launch]:
        """Return the launches that observe what an op has written; append them to the op's own."""
        return [self._launch(value.tensor, arrays, op.layer) for value in observed(self.schedule, op)]

    def _launch(self, name: str, arrays: Arrays, layer: int) -> Launch:
        if name not in self.counters:
            self.counters[name] = CudaCounters(self.kernels, fixed=self.schedule[name].format is not None)
            self.layers[name] = layer
        return self.counters[name].launch(arrays[name])
