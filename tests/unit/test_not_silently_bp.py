"""Each rule is the rule that it says it is: none of them is backpropagation under another name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fasim import rules
from fasim.backends import Samples
from fasim.backends.cpu import CpuProgram
from fasim.backends.reference import ReferenceProgram
from fasim.network import Network
from fasim.schedule import Op, Schedule, StepSettings, Value, validate
from fasim.state import State, initial_state, set_learning_rate

NET = Network.parse("7-6-5-4")
BATCH = 4
DIRECT = ("dfa", "sdfa", "drtp")


def samples(seed: int, network: Network = NET, count: int = 10 * BATCH) -> Samples:
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (count, network.inputs), dtype=np.uint8)
    return Samples(codes, random.integers(0, network.outputs, count))


def step(rule: str, network: Network = NET, **settings: str) -> Schedule:
    return rules.training_step(network, rule, StepSettings(BATCH, **settings))


def start(schedule: Schedule, network: Network = NET, seed: int = 5, rate: float = 0.5) -> State:
    state = initial_state(network, schedule, seed)
    set_learning_rate(state, schedule, rate)
    return state


def run(schedule: Schedule, state: State, data: Samples, steps: int = 1) -> dict[str, np.ndarray]:
    """Train on the CPU, in place; return copies of the last step's buffers."""
    program = CpuProgram(schedule)
    program.run(state, data, np.arange(steps * BATCH), 0)
    return {name: array.copy() for name, array in program.buffers.items()}


def equal(one: State, other: State) -> bool:
    """Tell whether all arrays of the first state are the same, bit for bit, in the other."""
    return all(np.array_equal(array, other[name]) for name, array in one.items())


# --- the same where they must be the same -------------------------------------------------------


def test_fa_with_the_weights_as_feedback_is_bp() -> None:
    data = samples(1)
    states = {}
    for rule in ("bp", "fa"):
        schedule = step(rule)
        state = states[rule] = start(schedule)
        program = CpuProgram(schedule)
        for index in range(10):
            if rule == "fa":
                for layer in (1, 2):
                    state[f"feedback.{layer}"][:] = state[f"weight.{layer + 1}"]
            program.run(state, data, np.arange(index * BATCH, (index + 1) * BATCH), index)
    assert equal(states["bp"], states["fa"])
    assert not np.array_equal(states["bp"]["weight.1"], start(step("bp"))["weight.1"])


def test_fa_with_its_own_feedback_is_not_bp() -> None:
    data, states = samples(1), {}
    for rule in ("bp", "fa"):
        schedule = step(rule)
        states[rule] = start(schedule)
        run(schedule, states[rule], data, 10)
    for layer in (1, 2):
        assert not np.array_equal(states["bp"][f"weight.{layer}"], states["fa"][f"weight.{layer}"])


def test_fa_and_dfa_are_one_rule_with_one_hidden_layer() -> None:
    network = Network.parse("7-6-4")
    data, states = samples(2, network), {}
    for rule in ("fa", "dfa", "bp"):
        schedule = step(rule, network)
        states[rule] = start(schedule, network)
        run(schedule, states[rule], data, 10)
    assert equal(states["fa"], states["dfa"])
    assert equal(states["dfa"], states["fa"])
    assert not np.array_equal(states["fa"]["weight.1"], states["bp"]["weight.1"])


def test_fa_and_dfa_are_two_rules_with_two_hidden_layers() -> None:
    """Also with matrices that agree where they can: the layer below the last hidden one tells them apart."""
    data, states = samples(3), {}
    for rule in ("fa", "dfa"):
        schedule = step(rule)
        states[rule] = start(schedule)
        run(schedule, states[rule], data)
    assert np.array_equal(states["fa"]["feedback.2"], states["dfa"]["feedback.2"])
    assert np.array_equal(states["fa"]["weight.2"], states["dfa"]["weight.2"])
    assert not np.array_equal(states["fa"]["weight.1"], states["dfa"]["weight.1"])


# --- what the transport reads -------------------------------------------------------------------


def with_transport_copies(schedule: Schedule) -> Schedule:
    """Let the error phase read copies of the weights, ``transport.l``, that no update touches."""
    tensors, ops = dict(schedule.tensors), []
    for op in schedule.ops:
        reads = []
        for value in op.reads:
            copy = op.phase == "error" and schedule[value].cls == "weight"
            name = value.tensor.replace("weight.", "transport.") if copy else value.tensor
            tensors.setdefault(name, replace(schedule[value], name=name))
            reads.append(Value(name, value.version))
        ops.append(replace(op, reads=tuple(reads)))
    return validate(replace(schedule, tensors=tensors, ops=tuple(ops)))


def test_perturbed_copies_in_the_transport_change_the_deltas_of_bp() -> None:
    data, schedule = samples(4), step("bp")
    plain = run(schedule, start(schedule), data)
    copied = with_transport_copies(schedule)
    assert {f"transport.{layer}" for layer in (2, 3)} == copied.tensors.keys() - schedule.tensors.keys()
    for perturbed in (0, 2, 3):
        state = start(schedule)
        state |= {f"transport.{layer}": state[f"weight.{layer}"].copy() for layer in (2, 3)}
        if perturbed:
            state[f"transport.{perturbed}"] *= np.float32(1.25)
        found = run(copied, state, data)
        assert np.array_equal(found["output"], plain["output"])
        assert np.array_equal(found["error"], plain["error"])
        # a matrix of layer l + 1 brings the signal to layer l, and through it to the layers below
        changed = [not np.array_equal(found[f"delta.{layer}"], plain[f"delta.{layer}"]) for layer in (1, 2)]
        assert changed == {0: [False, False], 2: [True, False], 3: [True, True]}[perturbed]


@pytest.mark.parametrize("rule", ["fa", *DIRECT, "shallow"])
def test_no_other_rule_has_a_transport_to_copy(rule: str) -> None:
    assert with_transport_copies(step(rule)).tensors.keys() == step(rule).tensors.keys()


class Perturbed(ReferenceProgram):
    """Interprets a step whose matrices of one class are changed between forward pass and error."""

    prefix = ""

    def _error(self, op: Op) -> None:
        super()._error(op)
        for name in [name for name in self.now if self.prefix and name.startswith(self.prefix)]:
            self.now[name] = self.now[name] * 1.25


@pytest.mark.parametrize(("rule", "reads"), [("bp", "weight."), *((rule, "feedback.") for rule in ("fa", *DIRECT))])
def test_only_what_a_rule_transports_changes_its_deltas(rule: str, reads: str) -> None:
    """In phased order every forward op has run when the weights are changed."""
    schedule = rules.training_step(NET, rule, StepSettings(BATCH), order_by="phased")
    found = {}
    for prefix in ("", "weight.", "feedback."):
        program = Perturbed(schedule)
        program.prefix = prefix
        program.run(start(schedule), samples(6), np.arange(BATCH), 0)
        found[prefix] = dict(program.now)
    for prefix in ("weight.", "feedback."):
        for layer in (1, 2):
            same = np.array_equal(found[""][f"delta.{layer}"], found[prefix][f"delta.{layer}"])
            assert same is (prefix != reads), (prefix, layer)


# --- what the signal depends on -----------------------------------------------------------------


@pytest.mark.parametrize("rule", DIRECT)
def test_raw_error_scale_under_mean_is_n_times_k_larger(rule: str) -> None:
    """For bce; with N K = 16 the factor is a power of two, so that even float32 scales exactly."""
    found = {}
    for scale in ("loss_gradient", "raw"):
        schedule = step(rule, reduction="mean", error_scale=scale)
        found[scale] = run(schedule, start(schedule), samples(7))
    factor = np.float32(BATCH * NET.outputs)
    for layer in (1, 2):
        for group in ("weight", "bias"):
            name = f"gradient.{group}.{layer}"
            assert np.any(found["raw"][name])
            np.testing.assert_array_equal(found["raw"][name], factor * found["loss_gradient"][name])
    for group in ("weight", "bias"):
        name = f"gradient.{group}.3"
        np.testing.assert_array_equal(found["raw"][name], found["loss_gradient"][name])


def test_shallow_leaves_the_hidden_layers_alone() -> None:
    schedule = step("shallow")
    state = start(schedule)
    before = {name: array.copy() for name, array in state.items()}
    run(schedule, state, samples(8), 10)
    same = {name for name, array in state.items() if np.array_equal(array, before[name])}
    assert same == before.keys() - {"weight.3", "bias.3"}


def moved_output(state: State) -> State:
    """Return the state with another output layer, and so with other outputs and errors."""
    moved = {name: array.copy() for name, array in state.items()}
    moved["weight.3"] *= np.float32(-2.0)
    moved["bias.3"] += np.float32(0.5)
    return moved


@pytest.mark.parametrize(("rule", "depends"), [("dfa", True), ("sdfa", False), ("drtp", False)])
def test_whether_the_signal_depends_on_more_than_the_label(rule: str, depends: bool) -> None:
    schedule, data = step(rule), samples(9)
    state = start(schedule)
    other = Samples(255 - data.codes, data.labels)
    found = [run(schedule, *case) for case in ((moved_output(state), data), (state, data), (state, other))]
    for buffers in found:
        assert buffers["output"].min() > 0
        assert buffers["output"].max() < 1
    assert not np.array_equal(found[0]["output"], found[1]["output"])
    for layer in (1, 2):
        signals = [buffers[f"signal.{layer}"] for buffers in found]
        assert np.array_equal(signals[0], signals[1]) is not depends
        assert np.array_equal(signals[0], signals[2]) is not depends


def test_the_signal_of_sdfa_and_drtp_is_a_function_of_the_label() -> None:
    data = samples(10)
    for rule in ("sdfa", "drtp"):
        schedule = step(rule)
        state = start(schedule)
        found = run(schedule, state, data)
        for layer in (1, 2):
            matrix = state[f"feedback.{layer}"]
            row = matrix[data.labels[:BATCH]]
            expected = row if rule == "drtp" else matrix.sum(0) - 2 * row
            np.testing.assert_allclose(found[f"signal.{layer}"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rule", "depends"), [("bp", True), ("fa", True), ("dfa", True), ("drtp", False)])
def test_whether_hidden_gradients_depend_on_the_output(rule: str, depends: bool) -> None:
    """Two output layers on the same hidden state and labels."""
    schedule, data = step(rule), samples(11)
    state = start(schedule)
    one, two = run(schedule, moved_output(state), data), run(schedule, state, data)
    for layer in (1, 2):
        assert np.array_equal(one[f"act.{layer}"], two[f"act.{layer}"])
        for group in ("weight", "bias"):
            name = f"gradient.{group}.{layer}"
            assert np.any(one[name])
            assert np.array_equal(one[name], two[name]) is not depends
    assert not np.array_equal(one["gradient.weight.3"], two["gradient.weight.3"])


def test_the_gradient_of_drtp_has_the_sign_of_the_target() -> None:
    """With linear hidden layers and one sample, delta.1 is the row of the label itself, with a plus."""
    network = Network.parse("7-6-5-4", hidden="linear")
    schedule = rules.training_step(network, "drtp", StepSettings(1))
    state = start(schedule, network, rate=1.0)
    before, data = state["bias.1"].copy(), samples(12)
    CpuProgram(schedule).run(state, data, np.arange(1), 0)
    np.testing.assert_array_equal(state["bias.1"], before - state["feedback.1"][data.labels[0]])
