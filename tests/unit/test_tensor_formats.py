"""Formats of tensors, by class and by name: what a datapath may give which tensor, and that it then has it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fasim.backends import Samples, get
from fasim.errors import FasimError
from fasim.fixedpoint import Cast, Datapath, Fixed, load_datapath
from fasim.fixedpoint.options import Dynamic, Momentum
from fasim.network import Network
from fasim.rules import get as get_rule
from fasim.rules import names, training_step
from fasim.schedule import Schedule, StepSettings
from fasim.schedule.lowering import addressable, lower
from fasim.state import initial_state, set_learning_rate

NET = Network.parse("7-5-4-3")


def narrow(fmt: Fixed, rounding: str = "RND", overflow: str = "SAT") -> Cast:
    return Cast(fmt, rounding, overflow)


# s8 with every table that may be left out
FULL = {
    "signal": narrow(Fixed(12, 11)),
    "gradient": narrow(Fixed(20, 12)),
    "norm": Fixed(16, 12),
    "momentum": Momentum(narrow(Fixed(20, 12)), "7/8"),
}


def changed(base: str = "s8", **entries: object) -> Datapath:
    datapath = load_datapath(base)
    assert datapath is not None
    return dataclasses.replace(datapath, **({"name": "mine"} | entries))


def step(datapath: Datapath, network: Network = NET, rule: str = "dfa", **settings: object) -> Schedule:
    return training_step(network, rule, StepSettings(**({"batch_size": 4} | settings)), datapath)


def trained(schedule: Schedule, network: Network = NET, rate: float = 2.0**-4) -> dict[str, np.ndarray]:
    """Return the state after two steps of the interpreter."""
    state = initial_state(network, schedule, 0)
    set_learning_rate(state, schedule, rate)
    draw = np.random.default_rng(0)
    data = Samples(draw.integers(0, 256, (8, network.inputs), dtype=np.uint8), draw.integers(0, network.outputs, 8))
    get("reference")(schedule, threads=1).run(state, data, np.arange(8), 0)
    return state


def refusal(make) -> str:
    with pytest.raises(FasimError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("act.0", "u8.3", "is the input: its format stands in [input]"),
        ("clean.act.0", "u8.3", "is the input"),
        ("dropped.0", "u8.3", "is the input"),
        *((f"{kind}.1", "s8.7", f"unknown tensor '{kind}'") for kind in ("gradient", "velocity", "normal", "dropped")),
        ("clean.weight.1", "s8.7", "unknown tensor 'weight'"),
        ("preact", "s8.7", "unknown tensor 'preact'"),
        ("preact.x", "s8.7", "unknown tensor 'preact.x'"),
        ("preact.shared", "s8.7", "unknown tensor 'preact.shared'"),
        ("signal.1", "s8.7", "needs the table [signal]"),
        ("gradient.weight.1", "s8.7", "needs the table [gradient]"),
        ("velocity.bias.1", "s8.7", "needs the table [momentum]"),
        ("gain.1", "s8.7", "needs the table [norm]"),
    ],
)
def test_names_that_no_datapath_gives_a_format_are_refused(name, text, words):
    assert words in refusal(lambda: changed(tensors={name: Fixed.parse(text)}))


def test_names_of_what_a_datapath_lacks_are_refused():
    assert "needs the table [master]" in refusal(lambda: changed(master=None, tensors={"master.1": Fixed(16, 15)}))
    assert "needs the table [bias]" in refusal(lambda: changed(bias=None, tensors={"bias.1": Fixed(16, 15)}))
    tensors = {"master.feedback.1": Fixed(16, 15)}
    assert "feedback has no master" in refusal(lambda: changed(feedback_master_bits=None, tensors=tensors))


@pytest.mark.parametrize("name", ["preact.4", "weight.0", "delta.99"])
def test_layers_that_are_not_there_are_refused(name):
    datapath = changed(tensors={name: Fixed(8, 7)})
    assert f"datapath mine: [tensors] '{name}' is no tensor of 7-5-4-3" in refusal(lambda: step(datapath))


DROPPED = Network.parse("7-5-4-3", dropout=0.5)
POOLED = Network.parse("4x4x1-2c3-2p-3")
TANH = Network.parse("7-5-3", hidden="tanh", output="tanh")
RELU = Network.parse("7-5-3", hidden="relu", output="softmax")


@pytest.mark.parametrize(
    ("network", "name", "base", "entries", "settings"),
    [
        (DROPPED, "act.1", "s8", {}, {}),
        (POOLED, "act.1", "s8", {}, {}),
        (RELU, "slope.1", "s8", {}, {"loss": "cross_entropy"}),
        (RELU, "act.1", "s8", {"dynamic": {"preact": Dynamic.parse("keep")}}, {"loss": "cross_entropy"}),
        (NET, "feedback.1", "s8", {}, {"feedback": "uniform+shared"}),
        (TANH, "slope.1", "pocketnn", {}, {"loss": "mse"}),
    ],
)
def test_what_follows_from_another_tensor_has_no_format_of_its_own(network, name, base, entries, settings):
    datapath = changed(base, tensors={name: Fixed(8, 7)}, **entries)
    assert f"{name!r} has no format of its own" in refusal(lambda: step(datapath, network, **settings))


EVERYWHERE = (
    (NET, {"optimizer": "momentum"}),
    (NET, {"fgsm": 0.1, "optimizer": "momentum", "feedback": "uniform+rank:2"}),
    (Network.parse("7-5-4-3", dropout=0.5, input_dropout=0.5), {}),
    (Network.parse("8x8x1-2c3-2p-2c3-2a-5-3", batch_norm=True, dropout=0.5), {"fgsm": 0.1}),
)


@pytest.mark.parametrize("rule", names())
def test_every_tensor_with_a_format_of_its_own_can_be_named(rule):
    """Whatever the lowering asks [tensors] for is a name that a datapath accepts, and the step is the same under it."""
    lowered = 0
    for network, settings in EVERYWHERE:
        try:
            schedule = get_rule(rule).schedule(network, StepSettings(batch_size=4, **settings))
        except FasimError:
            continue  # a rule for dense layers alone, or for whole matrices
        asked = addressable(schedule, changed(**FULL))
        formats = {name: tensor.format for name, tensor in lower(schedule, changed(**FULL)).tensors.items()}
        same = {name: formats[name] for name in asked if formats.get(name)}
        score = {
            f"score.{layer}": formats[f"score.{layer}.cast"] for layer in range(1, 5) if f"score.{layer}.cast" in formats
        }
        same |= {name: fmt for name, fmt in score.items() if name in asked}
        assert lower(schedule, changed(**FULL, tensors=same)) == lower(schedule, changed(**FULL))
        assert {"preact.1", "weight.1", "output"} <= same.keys()
        lowered += 1
    assert lowered


NORMED = Network.parse("7-5-4-3", batch_norm=True)
HONOURED = {
    **{f"{kind}.1": ("dfa", NET) for kind in ("weight", "master", "bias", "preact", "act", "slope", "delta", "feedback")},
    **{f"{kind}.1": ("dfa", NET) for kind in ("signal", "gradient.weight", "gradient.bias")},
    **{f"velocity.{kind}.1": ("dfa", NET) for kind in ("weight", "bias")},
    **{f"{kind}.1": ("lafs", NET) for kind in ("score", "guess", "local_error")},
    **{f"{kind}.1": ("bp", NORMED) for kind in ("gain", "shift", "normed", "delta_normed", "velocity.gain")},
    **{f"{kind}.1": ("kp", NET) for kind in ("feedback", "master.feedback", "gradient.weight", "velocity.feedback")},
    "gradient.feedback.1": ("dkp", NET),
    **dict.fromkeys(("output", "error"), ("bp", NET)),
    "map.1": ("bp", DROPPED),
    "feedback.shared": ("dfa", NET),
    "narrow.signal.1": ("dfa", NET),
    "feedback_in.1": ("dfa", NET),
}


@pytest.mark.parametrize("name", HONOURED)
def test_a_name_that_is_accepted_has_an_effect(name):
    """Two bits must change what is learnt, and the tensor's own format must be what was written."""
    rule, network = HONOURED[name]
    family = "uniform+shared" if "shared" in name else "uniform+rank:2" if "narrow" in name or "_in" in name else "uniform"
    settings = {"optimizer": "momentum", "feedback": family}
    plain = trained(step(changed(**FULL), network, rule, **settings), network)
    schedule = step(changed(**FULL, tensors={name: Fixed(2, 1)}), network, rule, **settings)
    fmt = schedule["score.1.cast" if name == "score.1" else name].format
    assert fmt == Fixed(2, 1)
    other = trained(schedule, network)
    assert any(not np.array_equal(plain[key], other[key]) for key in plain)


@pytest.mark.parametrize(
    "kind", ["weight", "master", "bias", "preact", "delta", "feedback", "gradient.weight", "velocity.bias"]
)
def test_formats_by_name_need_a_sign_where_their_class_does(kind):
    tensors = {f"{kind}.1": Fixed(8, 8, signed=False)}
    assert "u8.8 holds no negative numbers" in refusal(lambda: changed(**FULL, tensors=tensors))
    assert changed(tensors={"act.1": Fixed(8, 8, signed=False), "output": Fixed(8, 8, signed=False)})


def test_a_velocity_needs_a_sign():
    momentum = Momentum(narrow(Fixed(8, 8, signed=False)), "7/8")
    assert "[momentum] u8.8 holds no negative numbers" in refusal(lambda: changed(momentum=momentum))


WIDE = Fixed(33, 20)


@pytest.mark.parametrize(
    "entries",
    [
        *({name: narrow(WIDE)} for name in ("weight", "act", "slope", "error", "delta", "signal", "gradient")),
        {"master": WIDE},
        {"bias": WIDE},
        {"norm": WIDE},
        {"feedback": WIDE, "feedback_bits": None, "feedback_master_bits": None},
        {"momentum": Momentum(narrow(WIDE), "7/8")},
        {"tensors": {"delta.1": WIDE, "preact.1": WIDE}},
        {"input": Fixed(33, 8, signed=False)},
    ],
    ids=lambda entries: str(next(iter(entries))),
)
def test_a_tensor_has_at_most_32_bits(entries):
    assert "has 33 bits: a tensor has 1 to 32" in refusal(lambda: changed(**entries))


def test_feedback_has_at_most_32_bits():
    assert "[feedback] bits = 33: write 2 to 32" in refusal(lambda: changed(feedback_bits=33))
    assert "write 8 (those of the copy) to 32" in refusal(lambda: changed(feedback_master_bits=33))
    assert changed(feedback_bits=32, feedback_master_bits=32)
