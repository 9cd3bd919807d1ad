"""A run that was stopped and goes on from its checkpoint equals the run that was never stopped, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fasim import checkpoint
from fasim.data import load
from fasim.errors import ConfigError, DataError
from fasim.export.start import from_checkpoint
from fasim.fixedpoint import Cast, Fixed, load_datapath
from fasim.fixedpoint.options import Dynamic, Functions, Momentum, RandomSource
from fasim.network import Network
from fasim.plan import Plan
from fasim.schedule import StepSettings
from fasim.state import initial_state
from fasim.training import TrainingInterruptedError, train

NET = Network.parse("64-12-10")
S8 = load_datapath("s8")
WIDE = Cast(Fixed(20, 12), "RND", "SAT")
VELOCITY = {"momentum": Momentum(WIDE, "115/128")}
REGISTER = RandomSource("lfsr", width=24, taps=(24, 23, 22, 17), shifts=3, bits=12, half=True)
RANDOM = {"update_rounding": "STOCH", "preact": replace(S8.preact, rounding="STOCH"), "random": REGISTER}
EXPONENTS = {name: Dynamic.parse(text) for name, text in (("error", "keep nearest:1"), ("delta", "discard"))}
CHOSEN = {"dynamic": EXPONENTS | {"gradient": Dynamic.parse("keep")}, "gradient": WIDE}


def fixed(**entries):
    return replace(S8, name="mine", **entries)


CASES = {
    "fixed point, momentum": {"datapath": fixed(**VELOCITY), "settings": StepSettings(optimizer="momentum")},
    "fixed point, a shift register": {"datapath": fixed(**RANDOM)},
    "fixed point, exponents from the data": {"datapath": fixed(**CHOSEN)},
    "fixed point, masters of feedback that learns": {"datapath": fixed(**RANDOM, **CHOSEN), "rule": "kp"},
    "momentum, batch norm, dropout": {
        "network": replace(NET, batch_norm=True, dropout=0.3, input_dropout=0.1),
        "settings": StepSettings(optimizer="momentum"),
    },
    "stochastic fixed point": {"datapath": "s8_stoch"},
    "feedback that learns": {
        "rule": "kp",
        "settings": StepSettings(optimizer="momentum", feedback_optimizer="adam", weight_decay=0.001),
        "plan": Plan(rate_schedule="cosine", feedback_rate=0.001),
    },
    "augmentation, stages and a last batch": {
        "plan": Plan(augment="crop:1", stages="hidden:30,output:30,all:30", last_batch="keep", rate_schedule="step:0.5:1")
    },
}


@pytest.fixture(scope="module")
def data():
    digits = load("digits")
    return replace(digits, x_train=digits.x_train[:330], y_train=digits.y_train[:330])


def start(data, **given):
    given = {"network": NET, "rule": "dfa", "epochs": 4, "seed": 3} | given
    return train(given.pop("network"), data, **given)


def stop_after_two(epoch):
    if epoch.epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_an_uninterrupted_one(case, data, tmp_path):
    given = CASES[case]
    with pytest.raises(TrainingInterruptedError) as stopped:
        start(data, **given, folder=tmp_path, on_epoch=stop_after_two)
    assert len(stopped.value.run.epochs) == 2
    resumed = start(data, **given, folder=tmp_path, resume=True)
    whole = start(data, **given)
    assert resumed.state.keys() == whole.state.keys()
    assert [name for name in whole.state if not np.array_equal(whole.state[name], resumed.state[name])] == []
    assert resumed.trace == whole.trace
    for one, other in zip(resumed.epochs, whole.epochs, strict=True):
        assert repr(replace(one, seconds=0.0)) == repr(replace(other, seconds=0.0))
    again = start(data, **given, folder=tmp_path, resume=True)
    assert [name for name in whole.state if not np.array_equal(whole.state[name], again.state[name])] == []


@pytest.fixture
def folder(data, tmp_path):
    start(data, epochs=1, folder=tmp_path)
    return tmp_path


def test_a_finished_run_goes_on_for_more_epochs(data, folder, tmp_path_factory):
    longer = start(data, epochs=3, folder=folder, resume=True)
    whole = start(data, epochs=3)
    assert [epoch.epoch for epoch in longer.epochs] == [1, 2, 3]
    assert [name for name in whole.state if not np.array_equal(whole.state[name], longer.state[name])] == []
    cosine = tmp_path_factory.mktemp("cosine")
    start(data, epochs=1, folder=cosine, plan=Plan(rate_schedule="cosine"))
    with pytest.raises(ConfigError, match="has epochs 1, but 3 is given"):
        start(data, epochs=3, folder=cosine, plan=Plan(rate_schedule="cosine"), resume=True)


def test_only_the_last_checkpoint_is_kept(data, tmp_path):
    start(data, epochs=3, folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3.npz", "checkpoint.json"]


def test_a_stopped_run_stays_stopped(data, tmp_path):
    given = {"plan": Plan(stop="train_error:0.8"), "rule": "bp", "epochs": 25, "learning_rate": 2.0**-4}
    first = start(data, **given, folder=tmp_path)
    again = start(data, **given, folder=tmp_path, resume=True)
    assert first.stopped
    assert again.stopped
    assert len(first.epochs) == len(again.epochs) < 25


OTHERS = {
    "seed": ({"seed": 4}, "has seed 3, but 4 is given"),
    "plan's epochs": ({"epochs": 5, "plan": Plan(rate_schedule="cosine")}, "has epochs None, but 5 is given"),
    "rule": ({"rule": "bp"}, "has rule 'dfa', but 'bp'"),
    "network": ({"network": Network.parse("64-13-10")}, "has net '64-12-10', but '64-13-10'"),
    "dropout": ({"network": replace(NET, dropout=0.1)}, "has dropout 0.0"),
    "settings": ({"settings": StepSettings(clip="norm:1")}, "has clip '', but 'norm:1'"),
    "plan": ({"plan": Plan(last_batch="keep")}, "has last_batch 'drop', but 'keep'"),
    "learning rate": ({"learning_rate": 0.5}, "has learning_rate 0.0078125, but 0.5"),
    "datapath": ({"datapath": "s8"}, "has datapath 'float32', but 's8'"),
    "backend": ({"backend": "reference"}, "has backend 'cpu'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_settings_are_refused(name, data, folder):
    given, message = OTHERS[name]
    with pytest.raises(ConfigError, match=message):
        start(data, **{"epochs": 1, "folder": folder, "resume": True} | given)


def test_other_samples_and_standardisation_are_refused(data, folder):
    moved = replace(data, x_train=data.x_train[::-1].copy())
    scaled = replace(data, gain=np.full(64, 0.5, np.float32), offset=np.zeros(64, np.float32))
    for other, what in ((moved, "samples"), (scaled, "standardisation")):
        with pytest.raises(ConfigError, match=f"the run there has other {what} than given"):
            start(other, epochs=1, folder=folder, resume=True)


def test_a_datapath_file_that_was_changed_is_refused(data, tmp_path):
    mine = replace(load_datapath("s8"), name="mine")
    start(data, epochs=1, folder=tmp_path, datapath=mine)
    changed = replace(mine, delta=replace(mine.delta, rounding="TRN"))
    with pytest.raises(ConfigError, match="other datapath than given"):
        start(data, epochs=1, folder=tmp_path, datapath=changed, resume=True)


def test_a_table_that_was_changed_is_refused(data, tmp_path):
    """The datapath names its tables by their files: what these hold belongs to the run."""
    files = [tmp_path / name for name in ("act.txt", "slope.txt")]
    for file in files:
        file.write_text("7\n" * 1024)
    given = {"datapath": fixed(functions=Functions(tanh=str(files[0]), tanh_slope=str(files[1])))}
    start(data, epochs=1, folder=tmp_path, **given)
    assert len(start(data, epochs=2, folder=tmp_path, resume=True, **given).epochs) == 2
    assert from_checkpoint(tmp_path, needs_data=False).epoch == 2
    for file in files:
        before = file.read_text()
        file.write_text("7\n" * 1023 + "6\n")
        with pytest.raises(ConfigError, match="other datapath than given"):
            start(data, epochs=3, folder=tmp_path, resume=True, **given)
        with pytest.raises(ConfigError, match="other datapath than these"):
            from_checkpoint(tmp_path, needs_data=False)
        file.write_text(before)
    assert from_checkpoint(tmp_path, needs_data=False).epoch == 2


LAYERED = Network.parse("64-6-5-10")


@pytest.mark.parametrize("rule", ["dfa", "kp"])
def test_last_batch_freezing_and_stages_are_the_same_everywhere(rule, data):
    """Masters, copies, feedback and counts: interpreter and compiled loops, on one thread and on two."""
    few = replace(
        data, x_train=data.x_train[:45], y_train=data.y_train[:45], x_test=data.x_test[:20], y_test=data.y_test[:20]
    )
    plan = Plan(last_batch="keep", stages="hidden:2,output:3,all:9", feedback_rate=2.0**-5)
    settings = StepSettings(batch_size=8, freeze="2", optimizer="momentum")
    given = {"network": LAYERED, "rule": rule, "epochs": 2, "plan": plan, "settings": settings, "learning_rate": 2.0**-5}
    given["datapath"] = fixed(**VELOCITY, **RANDOM)
    runs = [
        start(few, **given, backend=name, threads=threads) for name, threads in (("reference", 1), ("cpu", 1), ("cpu", 2))
    ]
    assert {"master.1", "master.3"} <= runs[0].state.keys()
    assert rule != "kp" or "master.feedback.2" in runs[0].state
    for run in runs[1:]:
        assert run.state.keys() == runs[0].state.keys()
        assert [name for name in run.state if not np.array_equal(run.state[name], runs[0].state[name])] == []
        assert run.trace == runs[0].trace
    first = initial_state(LAYERED, runs[0].schedule, 3)
    assert np.array_equal(first["weight.2"], runs[0].state["weight.2"])
    assert not np.array_equal(first["master.1"], runs[0].state["master.1"])


def test_a_run_is_resumed_only_in_a_folder(data):
    with pytest.raises(ConfigError, match="resume needs the folder"):
        start(data, epochs=1, resume=True)


def test_a_missing_checkpoint_is_named(data, tmp_path, folder):
    with pytest.raises(DataError, match="no checkpoint can be read there"):
        start(data, epochs=1, folder=tmp_path / "nowhere", resume=True)
    (folder / "checkpoint-1.npz").unlink()
    with pytest.raises(DataError, match="no checkpoint can be read there"):
        start(data, epochs=1, folder=folder, resume=True)


def test_half_written_leftovers_are_passed_over(data, folder):
    (folder / ".checkpoint-2.npz.7.part").write_bytes(b"PK half")
    (folder / "checkpoint-2.npz").write_bytes(b"PK whole, but no JSON names it")
    assert len(start(data, epochs=1, folder=folder, resume=True).epochs) == 1


@pytest.mark.parametrize("name", ["checkpoint.json", "checkpoint-1.npz"])
def test_a_cut_file_is_refused_wherever_it_is_cut(name, folder):
    path = folder / name
    content = path.read_bytes()
    for size in np.linspace(0, len(content) - 2, 40).astype(int):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="damaged checkpoint"):
            checkpoint.load(folder)


def test_a_changed_byte_of_the_arrays_never_goes_unseen_as_another_number(folder):
    """ZIP's checksums guard the numbers; a byte that no reader looks at may change."""
    path = folder / "checkpoint-1.npz"
    content, before = path.read_bytes(), checkpoint.load(folder).state
    for place in np.random.default_rng(0).integers(0, len(content), 300):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            state = checkpoint.load(folder).state
        except DataError as error:
            assert "\n" not in str(error)
            continue
        assert all(np.array_equal(state[name], before[name]) for name in before if name in state)


def test_arrays_and_figures_that_do_not_belong_to_the_run_are_refused(data, folder):
    path = folder / "checkpoint-1.npz"
    with np.load(path) as file:
        arrays = dict(file)
    for name, array in (("weight.1", arrays["weight.1"][:-1]), ("bias.1", arrays["bias.1"].astype(np.float64))):
        np.savez(path, **arrays | {name: array})
        with pytest.raises(DataError, match=f"damaged checkpoint .{name}: float"):
            start(data, epochs=1, folder=folder, resume=True)
    np.savez(path, **{name: array for name, array in arrays.items() if name != "feedback.1"})
    with pytest.raises(DataError, match="feedback.1: missing"):
        start(data, epochs=1, folder=folder, resume=True)
    np.savez(path, **arrays)
    content = json.loads((folder / "checkpoint.json").read_text())
    for wrong in (
        {"epochs": [{"epoch": 1, "luck": 7}]},
        {"epochs": [3]},
        {"epochs": 3},
        {"sites": [1]},
        {"sites": {"a": {"b": 1}}},
    ):
        (folder / "checkpoint.json").write_text(json.dumps(content | wrong))
        with pytest.raises(DataError, match="damaged checkpoint"):
            start(data, epochs=1, folder=folder, resume=True)
