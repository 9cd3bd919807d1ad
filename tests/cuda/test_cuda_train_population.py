"""Training and comparing populations through the one epoch loop: on the device together, on the CPU one after another."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fasim
from fasim.backends.cuda import CudaProgram
from fasim.cli import command
from fasim.data import Data, load
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath
from fasim.network import Network
from fasim.plan import Plan
from fasim.population import Replica, train_population
from fasim.runs import Run, plain
from fasim.schedule import StepSettings
from fasim.target import Target, hold_out
from fasim.trainer import Trainer
from tests.cuda_runs import quick_switches
from tests.fixed_bridge import Case

NET, SIZE = "4-3-2", StepSettings(4)
REPLICAS = [Replica(0, 0.125), Replica(1, 0.5, "b3"), Replica(2**33, 0.0625), Replica(0, 0.25)]


def save(path: Path) -> None:
    """Write 10 samples to train with and 6 to test, of two classes."""
    random, labels = np.random.default_rng(3), np.arange(16) % 2
    codes = random.integers(0, 256, (16, 4), dtype=np.uint8)
    np.savez(path, x_train=codes[:10], y_train=labels[:10], x_test=codes[10:], y_test=labels[10:])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    path: Path = tmp_path_factory.mktemp("data") / "codes.npz"
    save(path)
    return load(str(path))


@pytest.fixture(autouse=True)
def small_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the simulator reckon few rows that fill up a batch."""
    monkeypatch.setattr("fasim.trainer.EVALUATION_BATCH", 3)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many replicas each training on the device had, as it goes on."""
    counts: list[int] = []
    run = CudaProgram.run_together

    def counting(self: CudaProgram, states: Any, *given: Any) -> Any:  # noqa: ANN401
        counts.append(len(states))
        return run(self, states, *given)

    monkeypatch.setattr(CudaProgram, "run_together", counting)
    return counts


def figures(run: Run) -> list[dict[str, float | None]]:
    """Return an epoch's figures that do not depend on time or on last bits."""
    return [
        {name: value for name, value in plain(one).items() if name not in ("seconds", "test_loss", "train_loss")}
        for one in run.epochs
    ]


def same(found: Run, expected: Run, *, bits: bool = True) -> None:
    assert (found.seed, found.learning_rate) == (expected.seed, expected.learning_rate)
    assert found.state.keys() == expected.state.keys()
    for name, array in expected.state.items():
        if bits:
            np.testing.assert_array_equal(found.state[name], array, err_msg=name)
        else:
            np.testing.assert_allclose(found.state[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    assert found.trace == expected.trace
    figures = [
        [(e.epoch, e.test_accuracy, e.train_accuracy, e.saturations) for e in run.epochs] for run in (found, expected)
    ]
    assert figures[0] == figures[1]
    assert found.stopped == expected.stopped


def trained(data: Data, backend: str, **given: Any) -> list[Run]:  # noqa: ANN401
    with quick_switches():
        return list(train_population(NET, data, REPLICAS, settings=SIZE, backend=backend, **given))


@pytest.mark.parametrize("datapath", ["float32", "s8_stoch"])
def test_replicas_differ_in_seed_rate_and_feedback_and_equal_their_own_runs(
    datapath: str, data: Data, launched: list[int]
) -> None:
    """A last batch of two samples is kept, rates fall, and the CPU does the same one by one."""
    plan = Plan(last_batch="keep", rate_schedule="step:0.5:1")
    given = {"rule": "dfa", "datapath": datapath, "epochs": 2, "plan": plan}
    together, one_by_one = (trained(data, backend, **given) for backend in ("cuda", "cpu"))
    assert launched == [2, 2, 4, 4, 4, 4]
    for one, found, on_cpu in zip(REPLICAS, together, one_by_one, strict=True):
        settings = StepSettings(4, feedback=one.feedback or "uniform")
        rate = one.learning_rate
        expected = fasim.train(NET, data, **given, settings=settings, seed=one.seed, learning_rate=rate)
        assert found.settings == expected.settings
        same(on_cpu, expected)
        same(found, expected, bits=datapath != "float32")
    assert not np.array_equal(together[0].state["feedback.1"], together[1].state["feedback.1"])


def test_a_replica_that_stops_leaves_the_others(data: Data, launched: list[int]) -> None:
    """Whose threshold some replicas meet sooner than others."""
    plan = Plan(stop="train_error:0.7")
    given = {"rule": "bp", "epochs": 4, "plan": plan}
    together, one_by_one = (trained(data, backend, **given) for backend in ("cuda", "cpu"))
    for found, expected in zip(together, one_by_one, strict=True):
        same(found, expected, bits=False)
    assert len({len(run.epochs) for run in together}) > 1
    assert len(set(launched[1:])) > 1


def test_what_the_memory_does_not_hold_at_once_follows(
    data: Data, launched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(Network.parse(NET), data, "bp", None, SIZE, Plan(), "cuda", 1)
    (program,), evaluator = trainer.programs.values(), trainer.evaluator
    order, outputs = 10 * 8, 6 * 2 * 4
    of_three = 3 * (program.replica_bytes + evaluator.replica_bytes + order + outputs)
    for missing, expected in ((0, [2, 3, 1]), (8, [2, 2, 2])):
        free = math.ceil(of_three / 0.8) - missing
        monkeypatch.setattr("fasim_cuda.free_bytes", lambda free=free: free)
        launched.clear()
        found = trained(data, "cuda", rule="bp", epochs=1)
        assert launched == expected
    for one, other in zip(found, trained(data, "cpu", rule="bp", epochs=1), strict=True):
        same(one, other, bits=False)


def test_a_comparison_trains_its_seeds_together(data: Data, launched: list[int]) -> None:
    given: dict[str, Any] = {"rules": ["dfa"], "datapaths": ["s8"], "epochs": 1, "seeds": [0, 1, 5], "settings": SIZE}
    told: list[tuple[int, int]] = []
    with quick_switches():
        found = fasim.compare(
            data, NET, **given, backend="cuda", on_epoch=lambda cell, epoch: told.append((cell.seed, epoch.epoch))
        )
    expected = fasim.compare(data, NET, **given)
    for one, other in zip(found.rows[0].runs, expected.rows[0].runs, strict=True):
        same(one, other)
    assert launched == [1, 3]
    assert told == [(0, 1), (1, 1), (5, 1)]
    assert found.complete


def test_the_command_line_compares_as_many_seeds_as_asked_for(
    tmp_path: Path, launched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules and datapaths apart, the seeds of each in the same launches; the figures are those of the CPU."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "codes.npz")
    found = []
    for backend in ("cpu", "cuda"):
        given = ["--data", "codes.npz", "--net", NET, "--rules", "bp,dfa", "--datapaths", "s8", "--seeds", "3"]
        given += ["--epochs", "1", "--batch-size", "4", "--backend", backend, "--json"]
        with quick_switches():
            done = CliRunner().invoke(command, ["compare", *given])
        assert done.exit_code == 0, done.output
        rows = json.loads(done.stdout)["rows"]
        found.append([[row[name] for name in ("rule", "seeds", "test_accuracy_mean", "saturations")] for row in rows])
    assert found[0] == found[1]
    assert [row[1] for row in found[1]] == [[0, 1, 2]] * 2
    assert launched == [1, 3, 1, 3]


def test_samples_that_depend_on_the_seed_are_trained_one_by_one(data: Data, launched: list[int]) -> None:
    images, plan = replace(data, shape=(2, 2, 1)), Plan(augment="flip")
    given: dict[str, Any] = {"rule": "bp", "datapath": "s8", "epochs": 1, "plan": plan, "settings": SIZE}
    with quick_switches():
        runs = list(train_population(NET, images, [Replica(3), Replica(4)], backend="cuda", **given))
    assert set(launched) == {1}
    for run in runs:
        same(run, fasim.train(NET, images, seed=run.seed, **given))


@pytest.fixture
def coarse(tmp_path: Path) -> Datapath:
    """Return the datapath s8 with other binary points, roundings and overflows in the same storage types."""
    tables = {
        "act": {"format": "s8.6"},
        "delta": {"format": "s8.5", "rounding": "RND_CONV", "overflow": "WRAP"},
        "weight": {"format": "s8.6", "rounding": "TRN"},
        "master": {"format": "s16.14"},
        "name": "coarse",
    }
    return Case(NET, "dfa", SIZE, tables=tables).datapath(tmp_path)


def test_datapaths_of_one_width_and_feedback_of_other_scales_train_together(
    data: Data, launched: list[int], coarse: Datapath
) -> None:
    replicas = [
        Replica(0, 0.125),
        Replica(0, 0.125, datapath=coarse),
        Replica(1, 0.5, "uniform+scale:4", coarse),
        Replica(1, 0.5, "gaussian+scale:0.5", "s8"),
    ]
    given: dict[str, Any] = {"rule": "dfa", "epochs": 2, "plan": Plan(last_batch="keep")}
    with quick_switches():
        found = list(train_population(NET, data, replicas, **given, datapath="s8_stoch", settings=SIZE, backend="cuda"))
    assert launched == [4, 4, 4, 4, 4, 4]
    for one, run in zip(replicas, found, strict=True):
        settings = StepSettings(4, feedback=one.feedback or "uniform")
        own = {"settings": settings, "seed": one.seed, "learning_rate": one.learning_rate}
        expected = fasim.train(NET, data, **given, **own, datapath=one.datapath or "s8_stoch")
        assert (run.settings, run.datapath_toml) == (expected.settings, expected.datapath_toml)
        assert figures(run) == figures(expected)
        same(run, expected)


def test_a_comparison_trains_datapaths_of_one_width_together_and_others_apart(
    data: Data, launched: list[int], coarse: Datapath
) -> None:
    """Rows stand in the order of the datapaths and rules that were asked for, whatever trains first."""
    given: dict[str, Any] = {"rules": ["bp", "dfa"], "epochs": 1, "seeds": [0, 5], "settings": SIZE}
    given |= {"datapaths": ["s8", "float32", coarse]}
    seen: list[tuple[str, str, bool]] = []
    with quick_switches():
        found = fasim.compare(
            data,
            NET,
            **given,
            backend="cuda",
            on_run=lambda so_far, run: seen.append((run.schedule.rule, run.schedule.datapath, so_far.complete)),
        )
    expected = fasim.compare(data, NET, **given)
    assert launched == [2, 4, 2, 4, 1, 2, 1, 2]
    assert [(row.rule, row.datapath) for row in found.rows] == [(row.rule, row.datapath) for row in expected.rows]
    together = [("bp", name) for name in ("s8", "s8", "coarse", "coarse")]
    assert [(rule, name) for rule, name, _ in seen[:4]] == together
    assert [complete for *_, complete in seen] == [False] * 11 + [True]
    for row, other in zip(found.rows, expected.rows, strict=True):
        for one, single in zip(row.runs, other.runs, strict=True):
            same(one, single, bits=row.datapath != "float32")


def test_every_replica_has_a_validation_split_of_its_own(data: Data, launched: list[int]) -> None:
    """Its evaluations within the epochs are those of its own run, and with them the epoch in which it ends."""
    target = Target(0.6, validation=0.3, evaluate_every=4, stop=True)
    plan = Plan(last_batch="keep", stop="train_error:0.01")
    given: dict[str, Any] = {"rule": "bp", "datapath": "s8", "epochs": 2, "plan": plan, "settings": SIZE}
    replicas = [Replica(seed, 8.0) for seed in (1, 2, 4)]
    with quick_switches():
        found = list(train_population(NET, data, replicas, **given, backend="cuda", target=target))
    for one, run in zip(replicas, found, strict=True):
        smaller, validation = hold_out(data, target, one.seed)
        own = {"seed": one.seed, "learning_rate": one.learning_rate, "validation": validation}
        expected = fasim.train(NET, smaller, **given, **own)
        same(run, expected)
        assert figures(run) == figures(expected)
        assert run.points == expected.points
    assert [len(run.epochs) for run in found] == [2, 1, 2]
    assert found[0].points != found[2].points
    assert set(launched) == {1, 3, 2}


def test_splits_of_augmented_samples_are_those_of_their_own_runs(data: Data, launched: list[int]) -> None:
    images, plan, target = replace(data, shape=(2, 2, 1)), Plan(augment="flip"), Target(0.5, 0.3, 4)
    given: dict[str, Any] = {"rule": "bp", "datapath": "s8", "epochs": 2, "plan": plan, "settings": SIZE}
    with quick_switches():
        found = list(train_population(NET, images, [Replica(3), Replica(4)], **given, backend="cuda", target=target))
    assert set(launched) == {1}
    for run in found:
        smaller, validation = hold_out(images, target, run.seed)
        expected = fasim.train(NET, smaller, **given, seed=run.seed, validation=validation)
        same(run, expected)
        assert run.points == expected.points


@pytest.mark.parametrize(
    ("replicas", "text"),
    [
        ([], "a population of no replicas: give at least one"),
        ([Replica(0, -1.0)], "learning rate -1"),
        ([Replica(-1)], "seed -1"),
        (
            [Replica(0), Replica(1, feedback="uniform+k:1")],
            "feedback uniform.k:1 beside uniform in one population: feedback_index.1 is there in one of them alone",
        ),
        (
            [Replica(0, datapath="s8"), Replica(1, datapath="s16")],
            "s16 beside s8 in one population: the storage type of weight.1 differs; train them apart",
        ),
        ([Replica(0), Replica(1, datapath="s8")], "s8 beside float32 in one population: "),
    ],
    ids=str,
)
def test_a_population_is_refused_in_one_line(replicas: list[Replica], text: str, data: Data) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        train_population(NET, data, replicas, rule="dfa", settings=SIZE)
    assert "\n" not in str(error.value)
