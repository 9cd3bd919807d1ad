"""Optimizers and weight decay: kernels against PyTorch and their laws, CPU against the interpreter, counted operations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fasim import backends, kernels
from fasim.backends import Samples
from fasim.energy import count
from fasim.network import Network
from fasim.optimizers import DECAY_KINDS, OPTIMIZERS, decay_operations, get
from fasim.rules import training_step
from fasim.schedule import StepSettings, Tensor, Value
from fasim.state import initial_state, set_learning_rate
from tests.counting import step, totals

F32 = np.float32
STEPS, P = 20, 33
RATE = 2.0**-6


def drawn(seed=0):
    """Return float32 parameters in -0.5 .. 0.5 and the gradients of every step in -1 .. 1."""
    random = np.random.default_rng(seed)
    return random.uniform(-0.5, 0.5, P).astype(F32), random.uniform(-1, 1, (STEPS, P)).astype(F32)


def trained(name, start, gradients, decay, kind, rate=RATE):
    """Return parameters and states after as many calls of the kernel as there are gradients."""
    parameter, states = start.copy(), [np.zeros_like(start) for _ in get(name).states]
    constants = [F32(value) if key == "mu" else value for key, value in get(name).constants.items()]
    for number, gradient in enumerate(gradients):
        counted = (np.array([number]),) if name == "adam" else ()
        arguments = (*states, np.array([rate]), *counted, *constants, F32(decay), DECAY_KINDS.index(kind))
        getattr(kernels, name)(parameter, gradient, *arguments)
    return parameter, states


def by_torch(make, start, gradients):
    torch = pytest.importorskip("torch")
    parameter = torch.tensor(start.astype(np.float64), requires_grad=True)
    optimizer = make(torch.optim)([parameter])
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient.astype(np.float64))
        optimizer.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("decay", [0.0, 0.25])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_with_coupled_decay_are_torch_optim(name, decay):
    start, gradients = drawn()

    def make(optim):
        made = {
            "sgd": (optim.SGD, {}),
            "momentum": (optim.SGD, {"momentum": 0.9}),
            "nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
            "rmsprop": (optim.RMSprop, {}),
            "adam": (optim.Adam, {}),
        }[name]
        return lambda parameters: made[0](parameters, lr=RATE, weight_decay=decay, **made[1])

    parameter, _ = trained(name, start, gradients, decay, "coupled")
    np.testing.assert_allclose(parameter, by_torch(make, start, gradients), rtol=0, atol=2e-6)


def test_adam_with_adamw_decay_is_torch_adamw():
    start, gradients = drawn(1)
    parameter, _ = trained("adam", start, gradients, 0.5, "adamw")
    expected = by_torch(lambda optim: lambda given: optim.AdamW(given, lr=RATE, weight_decay=0.5), start, gradients)
    np.testing.assert_allclose(parameter, expected, rtol=0, atol=2e-6)
    assert np.abs(parameter - trained("adam", start, gradients, 0.5, "coupled")[0]).max() > 0.01


@pytest.mark.parametrize("decay", [1e-4, 0.05])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_kolen_and_pollack_two_parameters_with_the_same_gradients_meet(name, decay):
    """Their difference shrinks by (1 - decay)^t, whatever the learning rate and the optimizer."""
    (first, gradients), (second, _) = drawn(2), drawn(3)
    for rate in (RATE, RATE / 8):
        left, _ = trained(name, first, gradients, decay, "decoupled", rate)
        right, _ = trained(name, second, gradients, decay, "decoupled", rate)
        expected = (first.astype(float) - second) * (1 - decay) ** STEPS
        np.testing.assert_allclose(left.astype(float) - right, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["coupled", "adamw"])
def test_with_sgd_the_other_kinds_shrink_by_rate_times_decay(kind):
    (first, gradients), (second, _) = drawn(2), drawn(3)
    left, right = (trained("sgd", start, gradients, 0.5, kind)[0] for start in (first, second))
    expected = (first.astype(float) - second) * (1 - RATE * 0.5) ** STEPS
    np.testing.assert_allclose(left.astype(float) - right, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", DECAY_KINDS)
def test_only_coupled_decay_enters_the_states(name, kind):
    start, gradients = drawn(4)
    _, plain = trained(name, start, gradients, 0.0, kind)
    _, states = trained(name, start, gradients, 0.5, kind)
    for one, other in zip(plain, states, strict=True):
        assert np.array_equal(one, other) == (kind != "coupled")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_decay_all_kinds_are_the_same_bits(name):
    """Those of a zero's sign and of parameters that have diverged included."""
    start, gradients = drawn(5)
    start[:4] = [np.inf, -np.inf, -0.0, 0.0]
    gradients[:, 2:4] = [-0.0, -0.0]
    bits = {tuple(array.tobytes() for array in (found[0], *found[1])) for found in _without_decay(name, start, gradients)}
    assert len(bits) == 1
    parameter, _ = trained(name, start, gradients, 0.0, "coupled")
    assert parameter[:2].tolist() == [np.inf, -np.inf]


def _without_decay(name, start, gradients):
    return [trained(name, start, gradients, 0.0, kind) for kind in DECAY_KINDS]


def test_sgd_without_decay_is_its_formula_to_the_bit():
    start, gradients = drawn(6)
    expected = start.copy()
    for gradient in gradients:
        expected -= F32(RATE) * gradient
    assert trained("sgd", start, gradients, 0.0, "coupled")[0].tobytes() == expected.tobytes()


# --- schedules ----------------------------------------------------------------------------------------------------------


def decayed(schedule, kind, decay, group="weight"):
    """Return the schedule with decay in the updates of a parameter group; layer 1 learns at a rate of its own."""
    ops = []
    for op in schedule.ops:
        if op.kind == "UPDATE":
            attrs = op.attrs | ({"decay": decay, "decay_kind": kind} if op.attrs["group"] == group else {})
            scalars = (Value("feedback_rate"),) if op.layer == 1 else op.scalars
            op = replace(op, attrs=attrs, scalars=scalars)
        ops.append(op)
    rate = Tensor("feedback_rate", "scalar", "", (), storage="input")
    return replace(schedule, ops=tuple(ops), tensors=schedule.tensors | {rate.name: rate})


def run(backend, name, kind, decay, feedback_rate):
    """Return the state before and after five steps."""
    network = Network.parse("6-5-3")
    plain = training_step(network, "dfa", StepSettings(4, optimizer=name))
    schedule = decayed(plain, kind, decay)
    state = initial_state(network, schedule, 7)
    set_learning_rate(state, plain, RATE)
    state["feedback_rate"] = np.array([feedback_rate])
    before = {key: array.copy() for key, array in state.items()}
    random = np.random.default_rng(8)
    samples = Samples(random.integers(0, 256, (20, 6), dtype=np.uint8), random.integers(0, 3, 20))
    backends.get(backend)(schedule).run(state, samples, np.arange(20), 0)
    return before, state


@pytest.mark.parametrize("kind", DECAY_KINDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_cpu_is_the_interpreter(name, kind):
    before, found = run("cpu", name, kind, 0.125, RATE / 4)
    _, expected = run("reference", name, kind, 0.125, RATE / 4)
    _, plain = run("cpu", name, kind, 0.0, RATE / 4)
    _, fast = run("cpu", name, kind, 0.125, RATE)
    for key, array in expected.items():
        largest = np.abs(array).max() or 1.0
        np.testing.assert_allclose(found[key], array, rtol=0, atol=2e-5 * largest, err_msg=key)
    for layer in (1, 2):
        assert not np.array_equal(found[f"weight.{layer}"], plain[f"weight.{layer}"]), "decay changes the weights"
    assert not np.array_equal(found["weight.1"], fast["weight.1"]), "the rate is the one that the op names"
    assert found["weight.1"].dtype == before["weight.1"].dtype


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_an_update_reads_the_rate_that_it_names(backend):
    before, after = run(backend, "sgd", "coupled", 0.125, 0.0)
    assert np.array_equal(after["weight.1"], before["weight.1"])
    assert not np.array_equal(after["weight.2"], before["weight.2"])


# --- operations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", DECAY_KINDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_costs_one_multiplication_and_one_addition_per_decayed_parameter(name, kind, n):
    # 4-3-2: 18 weights, 5 biases
    plain = step("4-3-2", "dfa", n, optimizer=name)
    without, zero = totals(count(plain), "update"), totals(count(decayed(plain, kind, 0.0)), "update")
    for group, parameters in (("weight", 18), ("bias", 5)):
        found = totals(count(decayed(plain, kind, 1e-4, group)), "update")
        added = {"MUL": parameters, "ADD": parameters}
        assert found == {key: without.get(key, 0) + added.get(key, 0) for key in found}
    assert zero == without
    assert decay_operations(1e-4) == (1, 1)


@pytest.mark.parametrize(("name", "expected"), [("nesterov", (3, 3, 0)), ("rmsprop", (4, 3, 2))])
def test_operations_of_the_new_optimizers(name, expected):
    """Nesterov: mu v twice, rate; a sum each. RMSprop: a s, g g, (1-a) g^2, rate g; sum, eps, w; root and quotient."""
    update = totals(count(step("4-3-2", "dfa", 2, optimizer=name)), "update")
    assert [update.get(key, 0) for key in ("MUL", "ADD", "DIV")] == [number * 23 for number in expected]
