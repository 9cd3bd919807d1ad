"""Topology strings: what they mean, that they come back, and what is refused in which words."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasim.errors import ConfigError, TopologyError
from fasim.network import Conv2d, Dense, Layer, MaxPool, Network

CANONICAL = [
    "784-10",
    "784-500-10",
    "784-7x240-10",
    "1-1",
    "28x28x1-10",
    "28x28x1-32c5-2p-1000-10",
    "32x32x3-64c3-2p-256c3-2p-1000-1000-10",
    "32x32x3-64c3s2p0-3p-10",
    "9x7x2-4c3p0-3ps2-5-2",
    "12x12x1-3x8c3-2p-4x6-2",
    "8x8x1-4c1p2-2c4-3",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_round_trip(text: str) -> None:
    network = Network.parse(text)
    assert str(network) == text
    assert Network.parse(str(network)) == network


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("784-2x240-10", "784-240-240-10"),
        ("784-240-240-240-10", "784-3x240-10"),
        ("784-1x500-10", "784-500-10"),
        ("784-3x10", "784-3x10"),
        ("28x28x1-32c5s1p2-2ps2-10", "28x28x1-32c5-2p-10"),
        ("8x8x1-4c4p1-10", "8x8x1-4c4-10"),
        (" 007-05-10\n", "7-5-10"),
    ],
)
def test_other_spellings(text: str, canonical: str) -> None:
    network = Network.parse(text)
    assert str(network) == canonical
    assert Network.parse(canonical) == network


def test_defaults_of_convolution_and_pooling() -> None:
    layers = Network.parse("32x32x3-8c5-2p-8c4-3p-8c3s2p3-4").layers
    assert layers == (
        Conv2d(8, 5, 1, 2),
        MaxPool(2, 2),
        Conv2d(8, 4, 1, 1),
        MaxPool(3, 3),
        Conv2d(8, 3, 2, 3),
        Dense(4),
    )


def test_a_repeat_is_the_layer_that_many_times() -> None:
    assert Network.parse("784-7x240-10").layers == (*[Dense(240)] * 7, Dense(10))
    assert Network.parse("9x9x1-3x4c3s2-5").layers == (*[Conv2d(4, 3, 2, 1)] * 3, Dense(5))


def test_activations_and_segment_numbers() -> None:
    segments = Network.parse("4-3-3-2", hidden="relu", output="softmax").segments
    assert [(s.index, s.activation) for s in segments] == [(1, "relu"), (2, "relu"), (3, "softmax")]


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (
            "28x28x1-32c5-2p-1000-10",
            [
                ((28, 28, 1), (32, 5, 5, 1), (28, 28, 32), (14, 14, 32)),
                ((14, 14, 32), (1000, 6272), (1000,), (1000,)),
                ((1000,), (10, 1000), (10,), (10,)),
            ],
        ),
        (
            "32x32x3-64c3-2p-256c3-2p-1000-1000-10",
            [
                ((32, 32, 3), (64, 3, 3, 3), (32, 32, 64), (16, 16, 64)),
                ((16, 16, 64), (256, 3, 3, 64), (16, 16, 256), (8, 8, 256)),
                ((8, 8, 256), (1000, 16384), (1000,), (1000,)),
                ((1000,), (1000, 1000), (1000,), (1000,)),
                ((1000,), (10, 1000), (10,), (10,)),
            ],
        ),
        (
            "9x7x2-4c3s2p0-2ps1-3",
            [
                ((9, 7, 2), (4, 3, 3, 2), (4, 3, 4), (3, 2, 4)),
                ((3, 2, 4), (3, 24), (3,), (3,)),
            ],
        ),
    ],
)
def test_shapes(text: str, shapes: list[tuple[tuple[int, ...], ...]]) -> None:
    network = Network.parse(text)
    found = [(s.in_shape, s.weight_shape, s.map_shape, s.out_shape) for s in network.segments]
    assert found == shapes
    assert network.outputs == shapes[-1][3][0]
    first = network.segments[0]
    assert first.fan_in == math.prod(shapes[0][1][1:])
    assert first.map_size == math.prod(shapes[0][2])
    assert first.out_size == math.prod(shapes[0][3])
    assert network.inputs == math.prod(shapes[0][0])


GRAMMAR = "write it like 784-500-10, 784-7x240-10 or 28x28x1-32c5-2p-1000-10"
START = f"an input and at least one layer are needed; {GRAMMAR}"
HUGE = "9" * 5000  # more digits than Python turns into an int


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"network '': {START}"),
        ("784", f"network '784': {START}"),
        ("28x28-10", f"network '28x28-10': {START}"),
        ("-784-10", f"network '-784-10': {START}"),
        ("784--10", f"network '784--10': cannot read the layer ''; {GRAMMAR}"),
        ("784-5.0-10", f"network '784-5.0-10': cannot read the layer '5.0'; {GRAMMAR}"),
        ("784-five-10", f"network '784-five-10': cannot read the layer 'five'; {GRAMMAR}"),
        ("784-5x", f"network '784-5x': cannot read the layer '5x'; {GRAMMAR}"),
        ("784-3x4x5-10", f"network '784-3x4x5-10': '3x4x5' has two repeats; {GRAMMAR}"),
        (
            "784-0x5-10",
            "network '784-0x5-10': '0x5' repeats 0 times; 1 to 10000 are allowed",
        ),
        (
            "784-10001x5-10",
            "network '784-10001x5-10': '10001x5' repeats 10001 times; 1 to 10000 are allowed",
        ),
        (
            "784-0-10",
            "layer '0' has a size of 0; every size must be at least 1",
        ),
        (
            "8x8x1-4c0-10",
            "layer '4c0' has a size of 0; every size must be at least 1",
        ),
        (
            "8x8x1-4c3s0-10",
            "layer '4c3s0' has a size of 0; every size must be at least 1",
        ),
        (
            "8x8x1-4c3-0p-10",
            "layer '0p' has a size of 0; every size must be at least 1",
        ),
        ("0-10", "input shape (0,): every size must be at least 1"),
        (
            "8x8x1-4c3",
            "the last layer must be dense (its units are the outputs); end the network with a number",
        ),
        ("784-5-2p-10", "pooling '2p' must follow a convolution directly"),
        ("8x8x1-2p-10", "pooling '2p' must follow a convolution directly"),
        ("8x8x1-4c3-2p-2p-10", "pooling '2p' must follow a convolution directly"),
        (
            "784-4c3-10",
            "convolution '4c3' needs maps, but what comes before it has shape (784,); "
            "start with HxWxC, such as 28x28x1, and put dense layers last",
        ),
        (
            "4x4x1-2c7p0-10",
            "layer '2c7p0' has a window of 7 on a map of 4x4 (padding 0): "
            "the window must fit; use a smaller one or more padding",
        ),
        (
            "4x4x1-2c3-5p-10",
            "layer '5p' has a window of 5 on a map of 4x4 (padding 0): "
            "the window must fit; use a smaller one or more padding",
        ),
        (
            "2000000-2000000-10",
            "layer '2000000' has more than 2^40 weights or units; make it smaller",
        ),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(TopologyError) as refused:
        Network.parse(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "layers",
    [
        (Dense(0), Dense(2)),
        (Dense(-3), Dense(2)),
        (Conv2d(4, 3, 0, 1), Dense(2)),
        (Conv2d(4, 3, 1, 1), MaxPool(2, 0), Dense(2)),
    ],
)
def test_sizes_are_checked_however_a_network_is_built(layers: tuple[Layer, ...]) -> None:
    with pytest.raises(TopologyError, match="size of 0"):
        Network((8, 8, 1), layers)


@pytest.mark.parametrize(
    "text",
    [
        f"{HUGE}-10",
        f"784-{HUGE}",
        f"784-{HUGE}x5-10",
        f"8x8x1-{HUGE}c3-10",
        f"8x8x1-4c{HUGE}-10",
        f"8x8x1-4c3s{HUGE}-10",
        f"8x8x1-4c3p{HUGE}-10",
        f"8x8x1-4c3-{HUGE}p-10",
        f"8x8x{HUGE}-4c3-10",
        f"784-{'9' * 900}-10",
        f"{'9' * 900}-10",
        f"8x8x1-4c3p{'9' * 900}-10",
        "-".join(["784", *["10000x5"] * 100, "10"]),
    ],
    ids=range(13),
)
def test_absurd_sizes_are_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(TopologyError) as refused:
        Network.parse(text)
    assert time.perf_counter() - started < 0.5
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 3000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": "softmax"}, "unknown hidden activation 'softmax': there are linear, relu, "),
        ({"output": "sofmax"}, "unknown output activation 'sofmax': .*did you mean 'softmax'?"),
        ({"init": "zeros"}, "unknown initialisation 'zeros': .*did you mean 'zero'?"),
        ({"dropout": 1.0}, "dropout 1.0: a probability with 0 <= p < 1 is needed"),
        ({"dropout": float("nan")}, "dropout nan: a probability"),
    ],
)
def test_refused_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        Network.parse("4-3-2", **options)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def check(text: str) -> None:
    """Either the text parses and comes back, or it is refused in one line; both quickly."""
    started = time.perf_counter()
    try:
        network = Network.parse(text)
    except TopologyError as error:
        assert "\n" not in str(error)
    else:
        assert Network.parse(str(network)) == network
    assert time.perf_counter() - started < 1.0


FUZZ = settings(derandomize=True, deadline=None, max_examples=300)


@FUZZ
@given(st.text(max_size=40))
@example("٣-٤")  # digits, but not ours
@example("²-10")
@example("4-3x\n5-2")
@example("3x4\u2028-2")
def test_any_text_parses_or_is_refused(text: str) -> None:
    check(text)


SIZE = st.one_of(st.integers(0, 40), st.integers(0, 10**30))
TOKEN = st.one_of(
    SIZE.map(str),
    st.tuples(SIZE, SIZE).map("{0[0]}x{0[1]}".format),
    st.tuples(SIZE, SIZE, SIZE).map("{0[0]}x{0[1]}x{0[2]}".format),
    st.tuples(SIZE, SIZE).map("{0[0]}c{0[1]}".format),
    st.tuples(SIZE, SIZE, SIZE, SIZE).map("{0[0]}c{0[1]}s{0[2]}p{0[3]}".format),
    st.tuples(SIZE, SIZE).map("{0[0]}p{0[1]}".format),
    SIZE.map("{}p".format),
    st.text("0123456789xcps.-", max_size=8),
)


@FUZZ
@given(st.lists(TOKEN, max_size=6).map("-".join))
def test_almost_a_network_parses_or_is_refused(text: str) -> None:
    check(text)


@FUZZ
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4)),
    st.lists(
        st.one_of(
            st.builds(Conv2d, st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(2, 4)),
            st.integers(1, 30).map(Dense),
        ),
        max_size=5,
    ),
)
def test_built_networks_come_back_from_their_string(shape: tuple[int, int, int], layers: list[Conv2d | Dense]) -> None:
    maps = [layer for layer in layers if isinstance(layer, Conv2d)]
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    network = Network(shape, (*maps, *dense, Dense(3)))
    assert Network.parse(str(network)) == network
