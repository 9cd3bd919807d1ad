"""Learning-rate schedules: by hand, against PyTorch's, and what is refused."""

from __future__ import annotations

import pytest

from fasim.errors import ConfigError
from fasim.learning_rates import SCHEDULES, RateSchedule, parse

EPOCHS = 20


def rates(text, base=0.1, epochs=EPOCHS):
    schedule = parse(text)
    return [schedule.rate(base, epoch, epochs) for epoch in range(epochs)]


def test_by_hand():
    assert rates("constant") == [0.1] * EPOCHS
    assert rates("step:0.5:7") == [0.1] * 7 + [0.05] * 7 + [0.025] * 6
    assert rates("step:0.5:3", 2.0**-7, 7) == [2.0**-7] * 3 + [2.0**-8] * 3 + [2.0**-9], "powers of two stay so"
    assert rates("exponential:0.85", 2.0, 4) == pytest.approx([2.0, 1.7, 1.445, 1.22825])
    assert rates("cosine", 1.0, 4) == pytest.approx([1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])
    assert rates("cosine:0.5", 1.0, 2) == pytest.approx([1.0, 0.75])
    assert rates("cosine:1") == pytest.approx([0.1] * EPOCHS)


def test_a_rate_depends_on_its_epoch_alone():
    schedule = parse("step:0.5:7")
    assert [schedule.rate(0.1, epoch, EPOCHS) for epoch in (19, 0, 7)] == [0.025, 0.1, 0.05]
    assert schedule == RateSchedule("step", 0.5, 7)


@pytest.mark.parametrize("text", ["step:0.5:7", "step:0.1:1", "exponential:0.85", "cosine", "cosine:0.01"])
def test_against_torch(text):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    kind, *numbers = text.split(":")
    numbers = [float(number) for number in numbers]
    theirs = {
        "step": lambda: torch.optim.lr_scheduler.StepLR(optimizer, int(numbers[1]), numbers[0]),
        "exponential": lambda: torch.optim.lr_scheduler.ExponentialLR(optimizer, numbers[0]),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, 0.1 * sum(numbers)),
    }[kind]()
    expected = []
    for _ in range(EPOCHS):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert rates(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("constant:1", "step", "step:0.5", "step:7:0.5", "step:0.5:0", "step:0.5:-7", "step:0.5:2.5", "step:0.5:7:1"),
        *("step:half:7", "step:0:7", "step:1.5:7", "exponential", "exponential:0", "exponential:-0.5", "exponential:nan"),
        *("exponential:inf", "cosine:1.01", "cosine:-0.1", "cosine:nan", "cosine:", "cosine:0.1:5"),
    ],
)
def test_bad_numbers_are_refused_with_an_example(text):
    with pytest.raises(ConfigError) as refused:
        parse(text)
    kind = text.partition(":")[0]
    assert f"{text!r}: {kind} " in str(refused.value)
    assert str(refused.value).endswith(f"write {SCHEDULES[kind]}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "steps:0.5:7", "Step:0.5:7", "0.5"])
def test_unknown_schedules_are_refused_with_examples(text):
    with pytest.raises(ConfigError, match=f"unknown learning-rate schedule '{text}': .*constant.*step:0.5:7"):
        parse(text)


def test_the_examples_are_schedules():
    for examples in SCHEDULES.values():
        for example in examples.split(" or "):
            assert parse(example).rate(0.25, 0, 3) == pytest.approx(0.25)


@pytest.mark.parametrize("epoch", [-1, 3])
def test_epochs_outside_of_the_run_are_refused(epoch):
    with pytest.raises(ConfigError, match=f"epoch {epoch} of 3: .* from 0 to 2"):
        parse("cosine").rate(0.1, epoch, 3)
