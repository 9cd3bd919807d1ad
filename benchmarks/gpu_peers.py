"""M and E of ``throughput.py``, PyTorch by hand and with autograd, on the GPU that fasim runs on; TF32 off."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from cases import LEARNING_RATE, MOVED, PROOF_STEPS, SEED, TOLERANCE, samples_of
from eager_torch import Eager
from gpu import seconds_between
from steps_torch import RULES, HandWritten

from fasim.backends.cuda import CudaProgram
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import StepSettings
from fasim.state import initial_state, set_learning_rate

OWN = (HandWritten, Eager)


def moved(thing: Any, device: str, seen: dict[int, Any] | None = None) -> Any:  # noqa: ANN401
    """Move every tensor that a contender holds to a device; what were two names of one tensor stay so.

    Parameters
    ----------
    thing : HandWritten, Eager, or what they hold
        Objects and lists are changed in place.
    device : str
    seen : dict, optional
        What has been moved already.

    Returns
    -------
    object
        The same thing or, of a tensor or a tuple, the moved one.
    """
    seen = {} if seen is None else seen
    if id(thing) in seen:
        return seen[id(thing)][1]
    found = thing
    if isinstance(thing, torch.nn.Module):
        thing.to(device)
    elif isinstance(thing, torch.Tensor):
        found = thing.to(device)
    elif isinstance(thing, tuple):
        found = tuple(moved(part, device, seen) for part in thing)
    elif isinstance(thing, list):
        thing[:] = [moved(part, device, seen) for part in thing]
    elif type(thing).__module__ in {own.__module__ for own in OWN}:
        for name, part in vars(thing).items():
            setattr(thing, name, moved(part, device, seen))
    # kept with what it was made of, whose id no other object may get meanwhile
    seen[id(thing)] = thing, found
    return found


class Peers:
    """PyTorch's steps of one net, rule and batch size, on a device.

    Parameters
    ----------
    net : str
    rule : str
        One of `RULES`.
    batch : int
    device : str
        ``cuda``, or ``cpu`` to try it.
    """

    def __init__(self, net: str, rule: str, batch: int, device: str = "cuda") -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.network, self.device = Network.parse(net), device
        self.data, self.order = samples_of(self.network)
        self.schedule = training_step(self.network, rule, StepSettings(batch))
        self.state = initial_state(self.network, self.schedule, SEED)
        set_learning_rate(self.state, self.schedule, LEARNING_RATE)
        given = self.data, self.order[: len(self.order) // batch * batch], batch, LEARNING_RATE
        self.contenders: dict[str, Any] = {"M": HandWritten(self.network, rule, self.state, *given, "matrices")}
        if rule == "bp":
            self.contenders["E"] = Eager(self.network, *given)
        for contender in self.contenders.values():
            moved(contender, device)
        if "E" in self.contenders:
            # a model's parameters may be others after it has been moved
            eager = self.contenders["E"]
            eager.optimizer = torch.optim.SGD(eager.model.parameters(), LEARNING_RATE)

    def prove(self) -> float:
        """Hold M's steps against fasim's on the device; return the largest relative difference of parameters.

        Raises
        ------
        SystemExit
            If they differ by more than `TOLERANCE`, or nothing has moved by `MOVED` times as much.
        """
        batch, hand = self.schedule.batch_size, self.contenders["M"]
        state = {name: array.copy() for name, array in self.state.items()}
        CudaProgram(self.schedule).run(state, self.data, self.order[: PROOF_STEPS * batch], 0)
        hand.restart()
        hand.run(PROOF_STEPS)
        difference, way = 0.0, 0.0
        for name, array in moved(hand, "cpu").parameters().items():
            before, own = (one[name].reshape(array.shape) for one in (self.state, state))
            largest = max(float(np.abs(before).max()), float(np.abs(array).max()))
            difference = max(difference, float(np.abs(own - array).max()) / largest)
            way = max(way, float(np.abs(array - before).max()) / largest)
        moved(hand, self.device)
        if not difference <= TOLERANCE or way < MOVED * TOLERANCE:
            what = f"{self.network} {self.schedule.rule} batch {batch}: PyTorch by hand on {self.device}"
            raise SystemExit(f"{what} differs from fasim by {difference:.2g} after steps that moved by {way:.2g}")
        return difference

    def measure(self, rounds: int, turn_s: float) -> dict[str, Any]:
        """Return samples a second of M and, for bp, of E, and on what."""
        found = {name: self._rate(contender, rounds, turn_s) for name, contender in self.contenders.items()}
        name = torch.cuda.get_device_name() if self.device == "cuda" else self.device
        return {"samples_per_s": found, "torch": torch.__version__, "device": name, "tf32": False}

    def _rate(self, contender: Any, rounds: int, turn_s: float) -> int:  # noqa: ANN401
        def taken(steps: int) -> float:
            contender.restart()
            self._wait()
            started = time.perf_counter()
            contender.run(steps)
            self._wait()
            return time.perf_counter() - started

        return round(self.schedule.batch_size / seconds_between(taken, rounds, turn_s))

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def is_there() -> bool:
    """Return whether PyTorch sees a GPU."""
    return torch.cuda.is_available()


def knows(rule: str) -> bool:
    """Return whether a rule has been written in PyTorch."""
    return rule in RULES
