"""Steps recorded as a graph: what is launched how often, in which order, on stand-ins for kernels and for cuda.core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fasim_cuda import graphs

from fasim.backends.cuda import CudaProgram
from fasim.errors import ConfigError
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from tests.cuda.test_cuda_population import orders, samples, states_of


class Recorder:
    """What cuda.core records and replays, as a list of functions."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.launches, self.building = log, list[Callable[[], None]](), False

    def begin_building(self) -> None:
        self.building = True

    def end_building(self) -> Recorder:
        self.building = False
        return self

    def complete(self) -> Recorder:
        assert not self.building
        return self

    def launch(self, stream: object) -> None:
        assert stream == "stream 0"
        self.log.append("graph")
        for launch in self.launches:
            launch()


class Kernel:
    """A kernel that a grid with a recorder launches later."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def __getitem__(self, grid: tuple[Any, ...]) -> Callable[..., None]:
        def launch(*arguments: object) -> None:
            def now() -> None:
                self.log.append(f"{self.name}{grid[:2]}{arguments}")

            if len(grid) == 3:
                assert grid[2].building
                grid[2].launches.append(now)
            else:
                now()

        return launch


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(graphs, "is_simulated", False)
    monkeypatch.setattr(graphs, "builder", lambda: Recorder(lines))
    monkeypatch.setattr(graphs, "default_stream", lambda: "stream 0")
    return lines


@pytest.mark.parametrize(
    ("variable", "times", "recorded"), [("1", 8, 7), ("1", 7, 0), ("", 8, 0), ("0", 8, 0), ("1", 0, 0)]
)
def test_every_step_is_launched_once_and_in_order(
    variable: str, times: int, recorded: int, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(graphs.VARIABLE, variable)
    launches = [(Kernel("first", log), (2, 3), [5]), (Kernel("second", log), ((1, 1, 4), 8), [6, 7])]
    graph = graphs.repeat(launches, times)
    assert log.count("graph") == recorded
    assert (graph is not None) == bool(recorded)
    assert [line for line in log if line != "graph"] == ["first(2, 3)(5,)", "second((1, 1, 4), 8)(6, 7)"] * times
    if recorded:
        assert "graph" not in log[:2]


def test_the_simulator_records_nothing(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "is_simulated", True)
    monkeypatch.setenv(graphs.VARIABLE, "1")
    graphs.repeat([(Kernel("first", log), (2, 3), [])], 9)
    assert log == ["first(2, 3)()"] * 9


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(graphs.VARIABLE, "yes")
    with pytest.raises(ConfigError, match="FASIM_CUDA_GRAPHS=yes: 0 or 1 is needed"):
        graphs.wanted()


def test_a_step_is_the_same_list_of_launches_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps but the first are one request, so that one recording serves them."""
    asked: list[int] = []
    repeat = graphs.repeat

    def counting(launches: Any, times: int) -> Any:  # noqa: ANN401
        asked.append(times)
        return repeat(launches, times)

    monkeypatch.setattr("fasim_cuda.repeat", counting)
    schedule = training_step(Network.parse("6-5-4"), "bp", StepSettings(2), None)
    CudaProgram(schedule).run_together(states_of(schedule), samples(), [np.tile(order, 2) for order in orders()], 0)
    assert asked == [1, 7, 1]
