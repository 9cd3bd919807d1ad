"""When a run stops: the smoothed training error by hand, its replay, and what is refused."""

from __future__ import annotations

import math

import pytest

from fasim.errors import ConfigError
from fasim.stopping import Stopping, parse


def test_never():
    assert parse("") == Stopping(None)
    assert not parse("").stops([0.0] * 1000)


def test_by_hand():
    # 1 -> .75 + .25 * .4 = .85 -> .6375 + .25 * .2 = .6875
    assert parse("train_error:0.7").stops([0.4, 0.2])
    assert not parse("train_error:0.68").stops([0.4, 0.2])
    assert not parse("train_error:0.7").stops([0.4])
    assert not parse("train_error:0.7").stops([])
    # 1 -> .75 -> .8125: it looks at the last epoch, as a run does after each
    assert parse("train_error:0.75").stops([0.0])
    assert not parse("train_error:0.75").stops([0.0, 1.0])


def test_without_an_error_noklands_rule_stops_after_33_epochs():
    """.75^32 is 1.004e-4, .75^33 is below 1e-4."""
    rule = parse("train_error:1e-4")
    assert [epochs for epochs in range(60) if rule.stops([0.0] * epochs)][0] == 33


def test_a_resumed_run_decides_as_one_in_one_piece():
    rule, history = parse("train_error:0.32"), [0.9, 0.4, 0.3, 0.1, 0.2, 0.15, 0.1, 0.3]
    whole = [rule.stops(history[: epoch + 1]) for epoch in range(len(history))]
    for restart in range(len(history)):
        again = parse("train_error:0.32")
        assert [again.stops(history[: epoch + 1]) for epoch in range(restart, len(history))] == whole[restart:]
    assert whole == [False, False, False, False, False, False, True, True]


def test_a_run_that_has_diverged_goes_on():
    assert not parse("train_error:0.5").stops([math.nan, *[0.0] * 100])


@pytest.mark.parametrize(
    "text",
    [
        *("train_error", "train_error:", "train_error:0", "train_error:-1e-4", "train_error:1", "train_error:nan"),
        *("train_error:1%", "test_error:1e-4", "1e-4", "never", "train_error:1e-4:2"),
    ],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=f"stopping rule '{text}': .* write train_error:1e-4$"):
        parse(text)
