"""Points of a sweep: their hash, their folders, what ran and what is never run again, means and fronts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from fasim import estimate, train
from fasim.data import load
from fasim.errors import ConfigError, DataError
from fasim.network import Network
from fasim.schedule import StepSettings
from fasim.sweep import Group, Pool, SweepFolder, engine, group, pareto, read_text, resolve, run_point, run_points
from fasim.sweep.point import resolve_all, step_of
from fasim.target import Target, hold_out

TEXT = (
    '[settings]\nnet = "64-8-10"\nepochs = 1\n[grid]\nrule = ["bp", "dfa"]\ndatapath = ["float32", "s8"]\nseed = [0, 1]\n'
)
HERE = Pool(workers=0)


def small(**more):
    return {"net": "64-8-10", "epochs": 1, **more}


def run_here(text, path):
    sweep = read_text(text)
    points = resolve_all(sweep.cases, sweep.axes)
    folder = SweepFolder(path)
    folder.create(sweep, points)
    return run_points(points, folder, HERE), points, folder


def test_defaults_are_those_of_a_training():
    point = resolve(small())
    run = train("64-8-10", "digits", epochs=1)
    cost = estimate(Network.parse("64-8-10"), "dfa")
    figures = run_point(point.settings).figures
    assert figures["test_accuracy"] == run.test_accuracy
    assert figures["test_loss"] == run.test_loss
    assert figures["energy_pj_per_sample"]["typical"] == cost.energy_pj_per_sample.typical
    assert point.settings["learning_rate"] == run.learning_rate
    assert (point.settings["loss"], point.settings["output"], point.settings["target"]) == ("bce", "sigmoid", "label")


def test_the_name_follows_what_decides_the_result_and_nothing_else(tmp_path):
    first = resolve(small())
    assert len(first.name) == 16
    assert resolve(small(rule="dfa", loss="bce", batch_size=32, learning_rate=2.0**-7)).name == first.name
    changes = [{"rule": "bp"}, {"datapath": "s8"}, {"seed": 1}, {"learning_rate": 0.5}, {"epochs": 2}, {"hidden": "relu"}]
    changes += [{"sparsity": "k:1"}, {"validation": 0.1}, {"batch_size": 16}, {"processor": "generic_28nm"}, {"init": "he"}]
    names = {resolve(small(**change)).name for change in changes}
    assert len(names) == len(changes)
    assert first.name not in names


def test_a_file_counts_by_what_it_holds_not_by_where_it_lies(tmp_path):
    text = (
        (Path(engine.__file__).parents[1] / "fixedpoint/datapaths/s8.toml")
        .read_text()
        .replace('name = "s8"', 'name = "my8"')
    )
    (tmp_path / "elsewhere").mkdir()
    paths = [tmp_path / "one.toml", tmp_path / "elsewhere" / "two.toml", tmp_path / "other.toml"]
    for path in paths[:2]:
        path.write_text(text)
    paths[2].write_text(text.replace('rounding = "RND"', 'rounding = "TRN"', 1))
    one, two, other = (resolve(small(datapath=str(path))) for path in paths)
    assert one.name == two.name != other.name
    assert one.settings["datapath"] == str(paths[0])


def test_sparsity_is_one_more_word_of_the_feedback():
    assert step_of(resolve(small(feedback="crafton", sparsity="k:1")).settings).feedback == "crafton+k:1"
    assert step_of(resolve(small(sparsity="")).settings).feedback == "uniform"


def test_a_validation_split_is_held_out_of_the_training_and_evaluated():
    point = resolve(small(validation=0.25, seed=3, rule="bp"))
    data, held_out = hold_out(load("digits"), Target(1.0, 0.25), 3)
    run = train("64-8-10", replace(data, x_test=held_out.x, y_test=held_out.y), rule="bp", epochs=1, seed=3)
    figures = run_point(point.settings).figures
    assert figures["validation_accuracy"] == run.test_accuracy
    assert figures["test_accuracy"] == train("64-8-10", data, rule="bp", epochs=1, seed=3).test_accuracy
    assert run_point(resolve(small(rule="bp", seed=3)).settings).figures["validation_accuracy"] is None


def test_a_point_that_cannot_be_is_named_before_anything_runs():
    sweep = read_text('[grid]\nrule = ["bp", "dfq"]\nseed = [0]\n')
    with pytest.raises(ConfigError, match=r"^rule dfq, seed 0: unknown rule 'dfq'.*did you mean 'dfa'"):
        resolve_all(sweep.cases, sweep.axes)
    with pytest.raises(ConfigError, match="validation 0.1: digits is trained without labels"):
        resolve({"target": "input", "validation": 0.1})
    sweep = read_text('[grid]\ntarget = ["label", "input"]\n')
    with pytest.raises(ConfigError, match="accuracies and losses do not compare"):
        resolve_all(sweep.cases, sweep.axes)


def test_every_point_has_a_whole_folder_and_is_never_run_twice(tmp_path, monkeypatch):
    done, points, folder = run_here(TEXT, tmp_path / "a")
    assert [one.error for one in done] == [""] * 8
    assert folder.finished() == sorted(point.name for point in points)
    for name in folder.finished():
        files = {path.name for path in (folder.points / name).iterdir()}
        assert files == {"config.toml", "identity.json", "result.json", "epochs.csv", "made.json"}
    ran = []
    monkeypatch.setattr(engine, "run_point", lambda settings, threads: ran.append(settings) or run_point(settings, threads))
    assert run_here(TEXT, tmp_path / "a")[0] == []
    more = TEXT.replace("seed = [0, 1]", "seed = [0, 1, 2]")
    assert len(run_here(more, tmp_path / "a")[0]) == len(ran) == 4
    assert {settings["seed"] for settings in ran} == {2}


def test_two_workers_with_one_point_leave_one_result(tmp_path):
    _, points, folder = run_here(TEXT, tmp_path / "a")
    before = (folder.points / points[0].name / "made.json").read_bytes()
    outcome = run_point(points[0].settings)
    assert folder.write(points[0], outcome) is False
    assert (folder.points / points[0].name / "made.json").read_bytes() == before
    assert not list(folder.points.glob(".*"))


def test_a_point_that_fails_is_recorded_and_the_others_run(tmp_path):
    text = '[settings]\nnet = "64-8-10"\nepochs = 1\ndatapath = "s8"\n[grid]\nlearning_rate = [0.3, "2^-7"]\n'
    done, points, folder = run_here(text, tmp_path / "a")
    assert [bool(one.error) for one in done] == [True, False]
    failure = folder.failures()[0]
    assert failure["error"] == done[0].error
    assert "power" in failure["error"] or "2^" in failure["error"]
    assert failure["point"] == points[0].name
    assert folder.finished() == [points[1].name]
    # tried again, and the record goes once it runs
    assert [one.point for one in run_here(text, tmp_path / "a")[0]] == [points[0]]
    folder.write(points[0], run_point(points[1].settings))
    assert folder.failures() == []
    assert not list(folder.failed.iterdir())


def test_a_fault_of_ours_keeps_its_traceback_and_ends_no_other_point(tmp_path, monkeypatch):
    def broken(settings, threads):
        if settings["seed"] == 0:
            raise ZeroDivisionError("by\nnothing")
        return run_point(settings, threads)

    monkeypatch.setattr(engine, "run_point", broken)
    done, _, folder = run_here(TEXT, tmp_path / "a")
    assert {one.error for one in done} == {"", "ZeroDivisionError: by nothing"}
    assert len(folder.failures()) == len(folder.finished()) == 4
    assert "in broken" in folder.failures()[0]["detail"]


def test_a_folder_without_a_sweep_and_a_damaged_result_are_refused(tmp_path):
    with pytest.raises(DataError, match="no sweep was started there"):
        SweepFolder(tmp_path).plan()
    _, points, folder = run_here(TEXT, tmp_path / "a")
    (folder.points / points[0].name / "result.json").write_text("{")
    with pytest.raises(DataError, match=rf"damaged; remove .*{points[0].name}, it is then made again"):
        folder.rows()


def test_a_group_is_the_mean_over_its_seeds(tmp_path):
    _, _, folder = run_here(TEXT, tmp_path / "a")
    plan = folder.plan()
    assert plan["axes"] == ["rule", "datapath", "seed"]
    rows = folder.rows(plan["points"])
    groups = group(rows)
    assert [(each.settings["rule"], each.settings["datapath"], each.seeds) for each in groups] == [
        (rule, datapath, (0, 1)) for rule in ("bp", "dfa") for datapath in ("float32", "s8")
    ]
    accuracies = [row["test_accuracy"] for row in rows if row["rule"] == "bp" and row["datapath"] == "s8"]
    assert groups[1].figures["test_accuracy_mean"] == fmean(accuracies)
    assert groups[1].figures["test_accuracy_std"] == stdev(accuracies)
    cost = estimate(Network.parse("64-8-10"), "bp", "s8", settings=StepSettings())
    assert groups[1].energy_pj == cost.energy_pj_per_sample.typical
    assert json.dumps(groups[1].as_dict(), allow_nan=False)


def made_up(accuracy, energy, loss=1.0):
    figures = {"test_accuracy_mean": accuracy, "test_loss_mean": loss, "energy_pj_per_sample": {"typical": energy}}
    return Group({}, (0,), figures, ("",))


def test_the_front_holds_what_no_other_beats():
    # (accuracy, energy): 0 and 1 beaten by 2 (same accuracy for less, better for as much), 3 and 4 equal, 5 better for more
    groups = [made_up(*pair) for pair in ((0.9, 3), (0.8, 2), (0.9, 2), (0.7, 1), (0.7, 1), (0.95, 9), (0.95, 10))]
    assert pareto(groups) == [3, 4, 2, 5]
    assert pareto([]) == []


def test_without_labels_the_front_goes_by_the_loss_and_leaves_out_what_diverged():
    groups = [made_up(None, 1, 0.5), made_up(None, 2, 0.6), made_up(None, 3, 0.1), made_up(None, 0.5, None)]
    assert pareto(groups) == [0, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "numbers of at least 0"),
        ({"threads": -1}, "numbers of at least 0"),
        ({"workers": 2, "scheduler": "tcp://a:1"}, "the cluster has its own"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Pool(**options)


def test_workers_are_no_more_than_points_and_share_the_cores(monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 8)
    assert Pool().local_workers(100) == 8
    assert Pool().local_workers(3) == 3
    assert Pool(workers=2).local_workers(100) == 2
    monkeypatch.setattr(engine.gpus, "count", lambda: 4)
    assert Pool(gpu=True).local_workers(100) == 4
