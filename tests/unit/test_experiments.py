"""The papers' experiments as files: all load, every case can be built, and nothing is read over."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from fasim.errors import ConfigError
from fasim.experiments import Published, Setting, load_experiment, names
from fasim.experiments.experiment import matches
from fasim.rules import training_step
from tests.small_experiment import SMALL

# every table, figure and listing of the five papers, with the number of its cells
CASES = {
    "000-L1": 10,
    "000-L2": 2,
    "001-F2": 2,
    "001-T1": 14,
    "001-T2": 14,
    "002-A": 1,
    "002-B": 2,
    "002-C": 3,
    "002-D": 3,
    "002-T": 30,
    "003-E1": 27,
    "003-E2": 27,
    "003-E3": 10,
    "003-E4": 14,
    "004-C": 5,
    "004-CI": 24,
    "004-M": 24,
    "004-R": 5,
}
QUICK = '[quick]\nepochs = 1\nsource = "measured: here"\nbands."thin bp" = [1.0, 2]\n'


def read(tmp_path, text):
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return load_experiment.__wrapped__(str(path))


def test_all_experiments_of_the_papers_are_there():
    assert {name: len(load_experiment(name).cases) for name in names()} == CASES


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_and_variant_writes_a_training_step(name):
    experiment = load_experiment(name)
    for variant in ("", *experiment.variants):
        for case in experiment.select(variant=variant):
            schedule = training_step(case.network(), case.value("rule"), case.step_settings())
            assert schedule.rule == case.value("rule")
            assert case.plan().parsed_stages


@pytest.mark.parametrize("name", sorted(CASES))
def test_names_of_cases_are_distinct_and_select_themselves(name):
    experiment = load_experiment(name)
    assert max(Counter(case.name for case in experiment.cases).values()) == 1
    for case in experiment.cases:
        assert experiment.select(case.name) == (case,)


def test_cells_have_their_own_settings_and_figures(tmp_path):
    experiment = read(tmp_path, SMALL)
    found = {case.name: case for case in experiment.cases}
    assert list(found) == ["thin bp", "thin dfa", "wide bp", "wide dfa"]
    assert [case.value("learning_rate") for case in experiment.cases] == [0.01, 0.02, 0.03, 0.04]
    assert [case.value("rule") for case in experiment.cases] == ["bp", "dfa"] * 2
    assert [str(case.network()) for case in experiment.cases] == ["64-8-10"] * 2 + ["64-16-10"] * 2
    first = found["thin bp"].published["test_error"]
    assert (first.figure, first.spread, first.source) == (10.5, 0.5, "paper: table 2")
    assert found["wide dfa"].published["test_error"].figure is None
    assert found["thin dfa"].settings["learning_rate"].source == "paper: table 1"


def test_a_variant_replaces_settings_and_is_held_against_the_papers_figures(tmp_path):
    experiment = read(tmp_path, SMALL)
    cases = experiment.select(variant="fast")
    assert [case.name for case in cases] == ["thin bp", "thin dfa"]
    assert [case.value("learning_rate") for case in cases] == [0.08, 0.08]
    assert [case.published for case in cases] == [case.published for case in experiment.select("thin *")]
    assert cases[0].published["test_error"].figure == 10.5


def test_quick_runs_have_bands(tmp_path):
    quick = read(tmp_path, SMALL.replace("[rows.thin]", QUICK + "[rows.thin]")).quick
    assert (quick.epochs, quick.source, quick.bands) == (1, "measured: here", {"thin bp": (1.0, 2.0)})
    assert read(tmp_path, SMALL).quick is None


def test_a_variant_with_published_figures_has_them():
    cases = {case.name: case.published["test_accuracy"] for case in load_experiment("001-T1").select(variant="code")}
    assert (cases["cifar10 dkp"].figure, cases["cifar10 fa"].figure) == (67.52, None)
    assert cases["cifar10 dkp"].source.startswith("original code")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "small"', "", "key title is missing"),
        ("[settings]", "[setings]", "unknown key 'setings'.*did you mean 'settings'"),
        ("batch_size", "batch_sise", "settings: unknown setting 'batch_sise'.*did you mean 'batch_size'"),
        ('batch_size = [32, "inferred: small"]', "batch_size = 32", "batch_size = 32: write a value and its source"),
        ('batch_size = [32, "inferred: small"]', "", "case 'thin bp': batch_size is missing"),
        ('[32, "inferred: small"]', '["32", "paper"]', "batch_size = '32': write a whole number from 1"),
        ('[32, "inferred: small"]', '[32, "guessed"]', "source 'guessed': write paper, original code, inferred"),
        ('[32, "inferred: small"]', '[32, "inferred"]', "source 'inferred': write why"),
        ('["unit", "inferred: small"]', '["unitt", "paper"]', "unknown standardisation 'unitt'"),
        ('["digits", "inferred: small"]', '["digit", "paper"]', "unknown data set 'digit'.*did you mean 'digits'"),
        ('rule = ["dfa", "paper"]', 'rule = ["dfaa", "paper"]', "case 'thin dfa': unknown rule 'dfaa'"),
        ('net = ["64-8-10", "paper"]', 'net = ["64-x-10", "paper"]', "case 'thin bp': network '64-x-10'"),
        ("thin = [0.01, 0.02]", "thin = [0.01]", "'thin': write one value for each of the columns bp, dfa"),
        ("wide = [0.03, 0.04]", "", r"row of \[cells.learning_rate\] wide is missing"),
        ("wide = [0.03, 0.04]", "wyde = [0.03, 0.04]", "unknown row of .*'wyde'.*did you mean 'wide'"),
        ('source = "paper: table 1"', "", r"row of \[cells.learning_rate\] source is missing"),
        ('source = "paper: table 2"', "", r"row of \[published.test_error\] source is missing"),
        ('"12"]', '"about 12"]', "published 'about 12': write a figure"),
        ('"12"]', "12]", "figure = 12: write text"),
        ('wide = ["figure only", "not given"]', "", r"row of \[published.test_error\] wide is missing"),
        ("[published.test_error]", "[published.test_eror]", "unknown measure 'test_eror'"),
        ('rule = ["dfa", "paper"]', 'rule = ["dfa", "paper"]\nnet = ["64-9-10", "paper"]', "net is given by row 'thin'"),
        ("[variants.fast]", "[variants.fast]\nspeed = 2", "unknown key of .variants.fast. 'speed'"),
        ('cases = ["thin *"]', 'cases = ["thick *"]', "unknown case of small"),
        ("[0.08,", '["fast",', "variants.fast.settings: learning_rate = 'fast': write a number"),
        ("[settings]", "[settings", "cannot be read as TOML"),
        ("[rows.thin]", QUICK.replace("epochs", "epoch") + "[rows.thin]", "unknown key of .quick. 'epoch'"),
        ("[rows.thin]", QUICK.replace("measured: ", "") + "[rows.thin]", "write 'measured: ' and how"),
        ("[rows.thin]", QUICK.replace("[1.0, 2]", "[2, 1]") + "[rows.thin]", "write the lowest and the highest"),
        ("[rows.thin]", QUICK.replace("[1.0, 2]", '["1", 2]') + "[rows.thin]", "write the lowest and the highest"),
        ("[rows.thin]", QUICK.replace("thin bp", "thin b") + "[rows.thin]", "unknown case of .* 'thin b'.*'thin bp'"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_in_one_line(tmp_path, old, new, message):
    assert SMALL.count(old) >= 1
    with pytest.raises(ConfigError, match=message) as error:
        read(tmp_path, SMALL.replace(old, new, 1))
    assert "\n" not in str(error.value)
    assert "small.toml" in str(error.value)


def test_an_unknown_experiment_variant_or_case_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown experiment '004-N'.*did you mean '004-[MRC]'"):
        load_experiment("004-N")
    with pytest.raises(ConfigError, match="unknown variant of 004-M 'dropout-0.2'.*did you mean"):
        load_experiment("004-M").select(variant="dropout-0.2")
    with pytest.raises(ConfigError, match="unknown case of 003-E4 'dfa b8'.*did you mean 'dfa b"):
        load_experiment("003-E4").select("dfa b8")


@pytest.mark.parametrize(
    ("name", "pattern", "found"),
    [
        ("784-500-10 dfa", "dfa", True),
        ("784-500-10 sdfa", "dfa", False),
        ("784-500-10 dfa", "784-500-10", True),
        ("784-500-10 dfa", "784-500*", True),
        ("784-500-10 dfa", "784-50?-10 *", True),
        ("784-500-10 dfa", "784", False),
    ],
)
def test_patterns(name, pattern, found):
    assert matches(name, pattern) is found


@pytest.mark.parametrize(
    ("text", "band"),
    [("2.59 ±.11", (2.26, 2.92)), ("2.12 ±.05", (1.82, 2.42)), ("4.64", (4.34, 4.94)), ("not given", None)],
)
def test_band_is_three_deviations_and_at_least_three_tenths_of_a_point(text, band):
    found = Published(text, "paper").band()
    assert found == (None if band is None else pytest.approx(band))


def test_published_figures_are_those_of_the_papers():
    """Typed anew from the papers' text, one cell in each table."""
    cells = {
        ("001-T1", "cifar10 dkp", "test_accuracy"): "64.69 ±.72",
        ("001-T1", "fashion-mnist drtp", "train_accuracy"): "94.86 ±.02",
        ("001-T2", "tiny-imagenet dfa", "test_accuracy"): "32.116 ±.66",
        ("002-T", "3x800-tanh fa", "test_error"): "1.66 ±.09",
        ("002-T", "2x800-tanh-dropout dfa", "train_error"): "0.24",
        ("003-E1", "2x400-tanh strategy3", "test_error"): "1.96",
        ("003-E2", "2x800-tanh strategy1", "test_error"): "1.66",
        ("003-E4", "fa b1", "test_error"): "4.64",
        ("004-M", "784-500-500-10 dfa", "test_error"): "4.35 ±.30",
        ("004-CI", "conv-trained drtp", "test_error"): "35.45 ±.76",
    }
    for (name, case, measure), text in cells.items():
        assert load_experiment(name).select(case)[0].published[measure].text == text


def test_settings_say_where_they_are_from():
    kinds = Counter(
        setting.source.partition(":")[0]
        for name in names()
        for case in load_experiment(name).cases
        for setting in case.settings.values()
    )
    assert set(kinds) == {"paper", "original code", "inferred"}


def test_no_line_of_a_setting_is_empty_words():
    for name in names():
        for case in load_experiment(name).cases:
            for key, setting in case.settings.items():
                assert re.fullmatch(r"\S.*\S", setting.source), (name, key)
    with pytest.raises(ConfigError, match="source 'somewhere'"):
        Setting(1, "somewhere")
