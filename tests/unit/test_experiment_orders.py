"""Orders that papers claim: how they are written, what is refused, and which pairs hold in rows written by hand."""

from __future__ import annotations

import pytest

from fasim.errors import ConfigError
from fasim.experiments import load_experiment, measured_order, names, pairs_held, verdict
from fasim.experiments.experiment import Published
from fasim.experiments.orders import Order, parse_orders
from fasim.experiments.summary import Row
from fasim.report_experiments import orders_held
from tests.small_experiment import SMALL

CASES = ["mnist bp", "mnist fa", "mnist dfa", "cifar bp", "cifar fa", "alone"]
ROWS = ["mnist", "cifar"]
NOT_GIVEN = Published("not given", "paper: by hand")


def row(case, values, *, measure="test_error", diverged=(), epochs=5):
    seeds = tuple(sorted({*values, *diverged}))
    return Row(case, measure, NOT_GIVEN, values, seeds, epochs, epochs, ())


def order(*places, measure="test_error"):
    return Order(measure, "", tuple((place,) if isinstance(place, str) else place for place in places), "paper: here")


def parse(text):
    return parse_orders("test_error", text, ROWS, CASES, "paper: here")


def test_an_order_of_a_row_names_its_cases():
    (found,) = parse("mnist: bp, fa > dfa")
    assert found.places == (("mnist bp", "mnist fa"), ("mnist dfa",))
    assert found.pairs == (("mnist bp", "mnist dfa"), ("mnist fa", "mnist dfa"))
    assert str(found) == "bp, fa > dfa"


def test_a_star_stands_for_each_row_that_has_all_of_the_cases():
    assert [one.row for one in parse("*: bp > fa")] == ["mnist", "cifar"]
    assert [one.row for one in parse("*: bp > dfa")] == ["mnist"]


def test_without_a_row_whole_names_are_written():
    (found,) = parse("cifar bp > alone")
    assert (found.row, found.places) == ("", (("cifar bp",), ("alone",)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mnist: bp", "each once"),
        ("mnist: bp > bp", "each once"),
        ("mnist: bp > > fa", "each once"),
        ("mnist: bp, > fa", "each once"),
        ("emnist: bp > fa", "row .* cifar, mnist"),
        ("cifar: bp > dfa", "cifar dfa"),
        ("bp > fa", "bp"),
        ("*: bp > kp", "no row"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text, says):
    with pytest.raises(ConfigError, match=says) as refused:
        parse(text)
    assert "\n" not in str(refused.value)


def test_pairs_are_held_by_means_and_counted_by_seeds():
    rows = [row("a", {0: 1.0, 1: 5.0, 2: 1.0}), row("b", {0: 2.0, 1: 2.0, 2: 2.0}), row("c", {0: 3.0, 1: 3.0, 2: 9.0})]
    claimed = order("a", "b", "c")
    found = pairs_held(claimed, rows)
    assert [(pair.better, pair.worse, pair.seeds, pair.holds_in, pair.holds) for pair in found] == [
        ("a", "b", 3, 2, False),
        ("a", "c", 3, 2, True),
        ("b", "c", 3, 3, True),
    ]
    assert verdict(claimed, found) == "2 of 3 pairs hold, a > c in 2 of 3 seeds; not a > b (in 2 of 3 seeds)"
    assert measured_order(claimed, rows) == ["b", "a", "c"]


def test_equal_figures_are_no_order():
    (found,) = pairs_held(order("a", "b"), [row("a", {0: 1.0}), row("b", {0: 1.0})])
    assert (found.holds_in, found.holds) == (0, False)
    assert verdict(order("a", "b"), [found]) == "does not hold (in 0 of 1 seed)"


def test_an_accuracy_is_better_the_higher():
    rows = [row("a", {0: 90.0}, measure="test_accuracy"), row("b", {0: 80.0}, measure="test_accuracy")]
    claimed = order("a", "b", measure="test_accuracy")
    assert verdict(claimed, pairs_held(claimed, rows)) == "holds (in 1 of 1 seed)"
    assert measured_order(claimed, rows) == ["a", "b"]


def test_a_run_that_diverged_is_worse_than_any_other():
    rows = [row("a", {0: 1.0}, diverged=[1]), row("b", {0: 2.0, 1: 80.0})]
    claimed = order("a", "b")
    (found,) = pairs_held(claimed, rows)
    assert (found.holds_in, found.holds) == (1, False)
    assert measured_order(claimed, rows) == ["b", "a"]


@pytest.mark.parametrize(
    "other",
    [row("b", {1: 9.0}), row("b", {0: 9.0}, epochs=4), row("b", {0: 9.0}, measure="train_error"), row("c", {0: 9.0})],
)
def test_only_runs_of_the_same_seeds_epochs_and_measure_are_compared(other):
    assert not pairs_held(order("a", "b"), [row("a", {0: 1.0}), other])


def test_a_case_of_several_places_is_held_against_all_behind_it():
    rows = [row(name, {0: float(place)}) for place, name in enumerate("abcd")]
    claimed = order(("a", "b"), ("d", "c"))
    assert verdict(claimed, pairs_held(claimed, rows)) == "all 4 pairs hold"
    assert verdict(claimed, pairs_held(claimed, rows[1:])) == "all 2 pairs hold; 2 not measured"


def test_the_file_says_where_a_claim_is_from(tmp_path):
    def read(text):
        path = tmp_path / "small.toml"
        path.write_text(SMALL + text, encoding="utf-8")
        return load_experiment.__wrapped__(str(path))

    claimed = '\n[orders.test_error]\nsource = "paper: here"\nclaimed = ["{}"]\n'
    first, other, *_ = [case.name for case in read("").cases]
    (found,) = read(claimed.format(f"{first} > {other}")).orders
    assert found.source == "paper: here"
    for text, says in [
        (claimed.format("nothing > naught"), "nothing"),
        (claimed.format(first), "each once"),
        (claimed.replace("test_error", "test_loss").format(f"{first} > {other}"), "test_loss"),
        (claimed.replace("paper: here", "here").format(f"{first} > {other}"), "source"),
        (claimed.replace('["{}"]', "3"), "write a list"),
        (claimed.replace("claimed", "claims").format(first), "claims"),
    ]:
        with pytest.raises(ConfigError, match=says):
            read(text)


@pytest.mark.parametrize("name", names())
def test_no_claim_of_a_paper_contradicts_its_own_figures(name):
    experiment = load_experiment(name)
    published = {case.name: case.published for case in experiment.cases}
    for claimed in experiment.orders:
        sign = -1 if claimed.measure.endswith("_accuracy") else 1
        for better, worse in claimed.pairs:
            first, other = (published[case][claimed.measure].figure for case in (better, worse))
            if first is not None and other is not None:
                assert sign * first < sign * other, (better, worse)


def test_what_fasim_run_prints():
    experiment = load_experiment("004-R")
    rows = [row(rule, {0: loss}, measure="test_loss") for rule, loss in (("dfa", 2.0), ("bp", 1.0), ("sdfa", 3.0))]
    (line,) = orders_held(experiment, rows)
    assert "dfa > bp, fa > sdfa > shallow" in line
    assert "measured: bp > dfa > sdfa" in line
    assert "2 of 3 pairs hold; not dfa > bp (in 0 of 1 seed)" in line
    assert orders_held(experiment, rows[:1]) == []
