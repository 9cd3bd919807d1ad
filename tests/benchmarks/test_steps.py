"""What the benchmark holds fasim against computes the same steps as the interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from cases import BATCHES, NETS, RULES  # noqa: E402 - scripts, not a package
from ceilings import moved_bytes, operations, peak_type  # noqa: E402
from plain_steps import PlainSteps  # noqa: E402

from fasim.backends import Samples  # noqa: E402
from fasim.backends.reference import ReferenceProgram  # noqa: E402
from fasim.energy.counts import count  # noqa: E402
from fasim.fixedpoint import load_datapath  # noqa: E402
from fasim.network import Network  # noqa: E402
from fasim.rules import training_step  # noqa: E402
from fasim.schedule import StepSettings  # noqa: E402
from fasim.state import initial_state, set_learning_rate  # noqa: E402

DENSE, CONV, STRIDED = "20-15-12-5", "8x8x2-4c3-2p-5c3p0-9-4", "9x9x1-3c3s2p0-4c3s2-4"
RATE, STEPS = 2.0**-5, 3


def start(net, rule, batch, datapath=None):
    """Return network, schedule, state, data and an order."""
    network = Network.parse(net)
    schedule = training_step(network, rule, StepSettings(batch), load_datapath(datapath or "float32"))
    state = initial_state(network, schedule, 3)
    set_learning_rate(state, schedule, RATE)
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (8 * batch, network.inputs), dtype=np.uint8)
    data = Samples(codes, random.integers(0, network.outputs, 8 * batch))
    return network, schedule, state, data, random.permutation(8 * batch)


def copied(state):
    return {name: array.copy() for name, array in state.items()}


@pytest.mark.parametrize("datapath", ["s8", "s16", "s8_stoch"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", [DENSE, CONV])
def test_plain_steps_have_the_bits_of_the_interpreter(net, rule, datapath):
    _, schedule, state, data, order = start(net, rule, 3, datapath)
    one, other = copied(state), copied(state)
    ReferenceProgram(schedule).run(one, data, order[:6], 7)
    PlainSteps(schedule).run(other, data, order[:6], 7)
    assert [name for name in one if not np.array_equal(one[name], other[name])] == []
    weights = [name for name in one if name.startswith("weight.")]
    assert all(not np.array_equal(one[f"master.{name[7:]}"], state[f"master.{name[7:]}"]) for name in weights)


def test_plain_steps_with_strides():
    _, schedule, state, data, order = start(STRIDED, "bp", 2, "s8")
    one, other = copied(state), copied(state)
    ReferenceProgram(schedule).run(one, data, order[:4], 0)
    PlainSteps(schedule).run(other, data, order[:4], 0)
    assert [name for name in one if not np.array_equal(one[name], other[name])] == []


def test_plain_steps_take_an_error_of_zero_for_positive():
    """Outputs that saturate at 0 have that error, which random weights never give."""
    _, schedule, state, data, order = start(DENSE, "sdfa", 3, "s8")
    for layer, weight in (("1", 127), ("2", 13), ("3", -128)):  # and layer 2 keeps a slope
        state[f"weight.{layer}"][:], state[f"master.{layer}"][:] = weight, weight << 8
    one, other = copied(state), copied(state)
    reference = ReferenceProgram(schedule)
    reference.run(one, data, order[:3], 0)
    assert (reference.now["error"] == 0).any()
    PlainSteps(schedule).run(other, data, order[:3], 0)
    assert [name for name in one if not np.array_equal(one[name], other[name])] == []


@pytest.mark.parametrize(
    ("datapath", "reason"),
    [("pocketnn", "plain sgd|attribute divide"), ("niti", "know no .*EXPONENT"), ("reckon_pm1", "plain sgd")],
)
def test_plain_steps_refuse_what_they_do_not_state(datapath, reason):
    net = Network.parse(DENSE, **({"hidden": "relu", "output": "softmax"} if datapath == "niti" else {}))
    loss = "cross_entropy" if datapath == "niti" else "bce"
    schedule = training_step(net, "dfa", StepSettings(2, loss=loss), load_datapath(datapath))
    state = initial_state(net, schedule, 0)
    set_learning_rate(state, schedule, RATE)
    data = Samples(np.zeros((2, net.inputs), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(SystemExit, match=reason):
        PlainSteps(schedule).run(state, data, np.arange(2), 0)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", [DENSE, CONV, STRIDED])
def test_hand_written_torch_steps_are_those_of_the_interpreter(net, rule, batch):
    pytest.importorskip("torch")
    from steps_torch import HandWritten, variants

    network, schedule, state, data, order = start(net, rule, batch)
    expected = copied(state)
    ReferenceProgram(schedule).run(expected, data, order[: STEPS * batch], 0)
    for variant in variants(network, batch):
        peer = HandWritten(network, rule, state, data, order, batch, RATE, variant)
        peer.run(STEPS)
        found = peer.parameters()
        assert set(found) == {name for name in state if name.startswith(("weight.", "bias."))} | (
            {name for name in state if name.startswith("feedback.")} if rule == "dkp" else set()
        )
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name].reshape(array.shape), rtol=0, atol=2e-6, err_msg=variant)
            assert np.abs(array - state[name]).max() > 1e-4
        peer.restart()
        for name, array in peer.parameters().items():
            np.testing.assert_array_equal(array, state[name])


def test_the_first_tanh_of_hand_written_torch_steps_has_one_number(monkeypatch):
    """Of more numbers than 2048, which PyTorch deals out to threads, a part may be wrong (see `steps_torch.settle`)."""
    torch = pytest.importorskip("torch")
    from steps_torch import HandWritten

    sizes, tanh = [], torch.tanh
    monkeypatch.setattr(torch, "tanh", lambda x, **given: sizes.append(x.numel()) or tanh(x, **given))
    network, _, state, data, order = start(DENSE, "dfa", 4)
    HandWritten(network, "dfa", state, data, order, 4, RATE, "matrices").run(1)
    assert sizes == [1, 4 * 15, 4 * 12]


@pytest.mark.parametrize("net", [DENSE, CONV])
def test_eager_torch_steps_are_backpropagation(net):
    torch = pytest.importorskip("torch")
    from eager_torch import Eager

    network, schedule, state, data, order = start(net, "bp", 4)
    eager = Eager(network, data, order, 4, RATE)
    names = [f"{what}.{segment.index}" for segment in network.segments for what in ("weight", "bias")]
    with torch.no_grad():
        for name, parameter in zip(names, eager.model.parameters(), strict=True):
            array = state[name]
            segment = network.segments[int(name.partition(".")[2]) - 1]
            if array.ndim == 2 and len(segment.in_shape) == 3:  # PyTorch flattens channels first
                array = array.reshape(-1, *segment.in_shape).transpose(0, 3, 1, 2).reshape(len(array), -1)
            parameter.copy_(
                torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array))
            )
    eager.run(STEPS)
    expected = copied(state)
    ReferenceProgram(schedule).run(expected, data, order[: STEPS * 4], 0)
    last = list(eager.model.parameters())[-2:]
    for name, parameter in zip(names[-2:], last, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), expected[name], rtol=0, atol=2e-6)
    first = next(iter(eager.model.parameters())).detach().numpy()
    first = first.transpose(0, 2, 3, 1) if first.ndim == 4 else first
    np.testing.assert_allclose(first, expected[names[0]], rtol=0, atol=2e-6)
    assert np.abs(first - state[names[0]]).max() > 1e-4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", [DENSE, CONV, STRIDED, NETS[0], NETS[-1], NETS[-2]])
def test_operations_are_twice_the_macs_of_the_schedule(net, rule):
    network = Network.parse(net)
    schedule = training_step(network, rule, StepSettings(BATCHES[1]))
    assert operations(network, rule, BATCHES[1]) == 2 * count(schedule).macs


def test_moved_bytes_are_weights_and_masters_and_the_feedback_that_is_read():
    weights, biases, feedback = 20 * 15 + 15 * 12 + 12 * 5, 15 + 12 + 5, 5 * 15 + 5 * 12
    for rule, datapath, written, read in (
        ("bp", None, 4 * (weights + biases), 0),
        ("dfa", None, 4 * (weights + biases), 4 * feedback),
        ("drtp", None, 4 * (weights + biases), 0),  # one row of the feedback a sample
        ("dkp", None, 4 * (weights + biases + feedback), 0),
        ("fa", None, 4 * (weights + biases), 4 * (15 * 12 + 12 * 5)),
        ("bp", "s8", 3 * weights + 2 * biases, 0),
        ("dfa", "s16", 4 * weights + 2 * biases, 2 * feedback),
    ):
        _, schedule, state, _, _ = start(DENSE, rule, 4, datapath)
        assert moved_bytes(schedule, state) == (written, read), (rule, datapath)
    assert [peak_type(start(DENSE, "bp", 1, name)[1]) for name in (None, "s16", "s8")] == ["float32", "int16", "int8"]
