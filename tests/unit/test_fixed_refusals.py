"""What a datapath may not say is refused in one line, and nothing that it says is passed over."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fasim.backends import Samples, get
from fasim.errors import ConfigError, FasimError, FormatError
from fasim.fixedpoint import Cast, Datapath, Fixed, load_datapath
from fasim.fixedpoint.accumulator import Acc
from fasim.fixedpoint.options import Dynamic, Functions, RandomSource
from fasim.network import Network
from fasim.rules import training_step
from fasim.schedule import Schedule, StepSettings
from fasim.state import initial_state, set_learning_rate

NET = Network.parse("7-5-4-3")


def narrow(fmt: Fixed, rounding: str = "RND", overflow: str = "SAT") -> Cast:
    return Cast(fmt, rounding, overflow)


def changed(base: str = "s8", **entries: object) -> Datapath:
    datapath = load_datapath(base)
    assert datapath is not None
    return dataclasses.replace(datapath, **({"name": "mine"} | entries))


def step(datapath: Datapath, network: Network = NET, rule: str = "dfa", **settings: object) -> Schedule:
    return training_step(network, rule, StepSettings(**({"batch_size": 4} | settings)), datapath)


def refusal(make) -> str:
    with pytest.raises(FasimError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- a cast that divides ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frac", [50, 57])
@pytest.mark.parametrize("overflow", ["SAT", "WRAP"])
def test_a_cast_that_divides_is_exact_up_to_the_bound(frac, overflow):
    """s19.15 to 57 fraction bits needs 18 + 42 bits and a sign: 61; each entry against fractions."""
    schedule = step(changed(preact=narrow(Fixed(16, frac), overflow=overflow), divide="3"))
    state = initial_state(NET, schedule, 0)
    set_learning_rate(state, schedule, 2.0**-7)
    codes = np.random.default_rng(0).integers(0, 256, (4, 7), dtype=np.uint8)
    sums = codes.astype(object) @ state["weight.1"].T.astype(object) + state["bias.1"].astype(object)
    for backend in ("reference", "cpu"):
        data = Samples(codes, np.zeros(4, np.int64))
        scratch = {name: array.copy() for name, array in state.items()}
        found = get(backend)(schedule, threads=1).values(scratch, data, ["preact.1"])["preact.1"]
        for total, value in zip(sums.reshape(-1), found.reshape(-1).tolist(), strict=True):
            raw = (Fraction(int(total), 3 << 15) * Fraction(2) ** frac + Fraction(1, 2)).__floor__()
            wrapped = (raw + 2**15) % 2**16 - 2**15
            assert value * 2.0**frac == (min(max(raw, -(2**15)), 2**15 - 1) if overflow == "SAT" else wrapped)


def test_a_cast_that_divides_beyond_63_bits_is_refused():
    words = "brings s19.15 to 66 fraction bits before it divides by 3, 71 bits; at most 63 can be accumulated exactly"
    assert words in refusal(lambda: step(changed(preact=narrow(Fixed(16, 66)), divide="3")))


def test_a_divisor_meets_no_exponent_from_the_data():
    relu = Network.parse("7-5-3", hidden="relu", output="softmax")
    dynamic = {"preact": Dynamic.parse("keep")}
    words = refusal(lambda: step(changed(divide="3", dynamic=dynamic), relu, loss="cross_entropy"))
    assert "preact.1 divides by 3 and cannot choose its exponent" in words
    assert step(changed(divide="4", dynamic=dynamic), relu, loss="cross_entropy")


@pytest.mark.parametrize(
    ("divide", "words"),
    [
        ("9" * 23, "write whole numbers of 1 to 18 digits"),
        ("1" * 5000, "write whole numbers of 1 to 18 digits"),
        ("999999999999999999 * 8", "has 63 bits, more than any sum; divide by less than 2^62"),
        ("4611686018427387904 ", "write whole numbers of 1 to 18 digits"),
        ("0", "write whole numbers"),
    ],
)
def test_huge_divisors_are_refused(divide, words):
    assert words in refusal(lambda: step(changed(preact=narrow(Fixed(10, 20)), divide=divide)))


# --- the target, registers, random bits, rates ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["nan", "inf", "-inf", "1e308", "0", "-0.0", "4294967296"])
def test_targets_that_teach_nothing_are_refused(target, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(changed().to_toml().replace("[error]\n", f'[error]\ntarget = "{target}"\n'))
    words = refusal(lambda: load_datapath(str(path)))
    assert f"[error] target = {float(target)}: write a number other than 0" in words


def test_a_target_below_half_a_step_is_refused_as_such():
    assert "act s8.7 cannot hold the target 0.003" in refusal(lambda: step(changed(target=0.003)))
    assert [op.attrs["one"] for op in step(changed(target=0.004)).find("ERROR")] == [1]


@pytest.mark.parametrize("order", ["lanes", "tree"])
def test_registers_have_a_bound(order):
    assert Acc.parse(f"20 SAT every_mac {order}:4096").width == 4096
    for width in ("0", "4097", "99999999999"):
        words = refusal(lambda width=width: Acc.parse(f"20 SAT every_mac {order}:{width}"))
        assert words == f"accumulator with {order}:{width}: write {order}:1 to {order}:4096"


def test_plus_minus_one_compares_as_many_bits_as_a_word_has():
    short = {"width": 8, "taps": (8, 6, 5, 4)}
    words = refusal(lambda: changed(kind="plus_minus_one", random=RandomSource("lfsr", **short)))
    assert 'kind = "plus_minus_one" compares 16 random bits, but a word of the lfsr has 8: write bits = 1 to 8' in words
    assert changed(kind="plus_minus_one", random=RandomSource("lfsr", bits=8, **short))
    assert changed(kind="plus_minus_one", random=RandomSource("lfsr", width=16, taps=(16, 15, 13, 4)))
    assert changed(random=RandomSource("lfsr", **short)).kind == "subtract"


@pytest.mark.parametrize(
    ("rate", "bits", "factor", "shift"),
    [(0.999 * 2**-7, 5, 16, 11), (0.999 * 2**-7, 10, 1023, 17), (2.0**-7, 5, 16, 11), (0.75, 1, 1, 0), (0.7, 1, 1, 1)],
)
def test_a_rate_as_a_product_has_as_many_bits_as_are_named(rate, bits, factor, shift):
    schedule = step(changed(rate=f"multiply:{bits}"))
    state = initial_state(NET, schedule, 0)
    set_learning_rate(state, schedule, rate)
    assert (int(state["learning_factor"][0]), int(state["learning_shift"][0])) == (factor, shift)


# --- random words and exponents that are chosen in the step ---------------------------------------------------------------


def keeps(signal_bits: int) -> Datapath:
    """Return a datapath whose error is all 0: exponents of the signals are 0, and their casts drop all the more bits."""
    return changed(
        feedback_bits=signal_bits,
        feedback_master_bits=None,
        error=narrow(Fixed(2, 15), overflow="SAT_ZERO"),
        signal=narrow(Fixed(8, 7)),
        delta=narrow(Fixed(8, 5), "STOCH"),
        dynamic={"signal": Dynamic.parse("keep")},
    )


def test_exponents_cannot_make_a_cast_drop_more_bits_than_a_word_has():
    bits = [op.attrs["shift"] for op in step(keeps(12)).ops if op.site.startswith("delta.1")]
    assert 20 < bits[0] <= 32
    schedule = step(keeps(12))
    state = initial_state(NET, schedule, 0)
    set_learning_rate(state, schedule, 2.0**-7)
    data = Samples(np.zeros((8, 7), np.uint8), np.zeros(8, np.int64))
    after = {}
    for backend in ("reference", "cpu"):
        after[backend] = {name: array.copy() for name, array in state.items()}
        get(backend)(schedule, threads=1).run(after[backend], data, np.arange(8), 0)
    assert all(np.array_equal(after["reference"][name], after["cpu"][name]) for name in state)
    words = refusal(lambda: step(keeps(18)))
    assert "would round away up to 3" in words
    assert "bits at random, but a random word has 32" in words


def test_exponents_below_zero_count_for_the_update():
    """`nearest` may choose down to -(W - 1 - h): the shift of an update then grows by as much."""
    entries = {"gradient": narrow(Fixed(8, 7)), "update_rounding": "STOCH"}
    kept = step(changed(**entries, dynamic={"gradient": Dynamic.parse("keep")}))
    nearest = step(changed(**entries, dynamic={"gradient": Dynamic.parse("keep nearest")}))
    static = max(op.attrs["shift"] for op in kept.find("UPDATE"))
    state = initial_state(NET, kept, 0)
    set_learning_rate(state, kept, 2.0 ** -(32 - static))
    with pytest.raises(ConfigError, match="would round away 33 bits"):
        set_learning_rate(state, kept, 2.0 ** -(33 - static))
    set_learning_rate(state, nearest, 2.0 ** -(25 - static))
    with pytest.raises(ConfigError, match="would round away 33 bits"):
        set_learning_rate(state, nearest, 2.0 ** -(26 - static))


# --- files of tables ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a datapath with its tables; the process runs elsewhere."""
    own = tmp_path / "own"
    own.mkdir()
    for name, low in (("act.txt", -128), ("slope.txt", 0)):
        (own / name).write_text("\n".join(str(max(low, min(127, code // 4))) for code in range(-512, 512)) + "\n")
    text = changed().to_toml() + '[functions]\ntanh = "act.txt"\ntanh_slope = "slope.txt"\n'
    (own / "mine.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return own


def test_files_of_tables_stand_beside_their_datapath(folder, tmp_path):
    datapath = load_datapath("own/mine.toml")
    assert datapath.functions.files == (str(folder / "act.txt"), str(folder / "slope.txt"))
    assert step(datapath).tables["table.act.tanh.s10.6.s8.7"][:2].tolist() == [-128, -128]
    copy = tmp_path / "elsewhere.toml"
    copy.write_text(datapath.to_toml())
    assert load_datapath(str(copy)) == datapath
    assert f'tanh = "{folder / "act.txt"}"' in copy.read_text()


def test_files_of_tables_from_python_stand_where_the_process_runs(folder):
    datapath = changed(functions=Functions(tanh="own/act.txt", tanh_slope="own/slope.txt"))
    assert f'tanh = "{folder / "act.txt"}"' in datapath.to_toml()


def test_a_table_that_is_not_there_names_the_datapath(folder):
    (folder / "slope.txt").unlink()
    datapath = load_datapath("own/mine.toml")
    words = refusal(lambda: step(datapath))
    assert words.startswith(f"datapath mine: table '{folder / 'slope.txt'}' cannot be read: No such file")
    (folder / "slope.txt").write_text("1\n")
    assert refusal(lambda: step(datapath)).startswith("datapath mine: table ")


def test_the_text_of_a_datapath_tells_the_contents_of_its_tables(folder):
    before = load_datapath("own/mine.toml").to_toml()
    assert load_datapath("own/mine.toml").to_toml() == before
    lines = (folder / "slope.txt").read_text().splitlines()
    (folder / "slope.txt").write_text("\n".join([*lines[:-1], "3"]) + "\n")
    assert load_datapath("own/mine.toml").to_toml() != before


def test_a_table_is_named_once():
    text = changed().to_toml() + '[functions]\ntanh = "hard"\ntanh_slope = "x.txt"\n'
    with pytest.raises(FormatError, match=r"^\[functions\] tanh = 'hard', tanh_slope = 'x.txt': table, hard"):
        from_text(text)
    for line in ('relu = "x"', 'slope = "x"', "softmax_bits = 9"):
        with pytest.raises(FormatError, match=r"^\[functions\] (?!\[functions\])"):
            from_text(changed().to_toml() + f"[functions]\n{line}\n")


def from_text(text: str) -> Datapath:
    from fasim.fixedpoint.document import from_document
    from fasim.fixedpoint.toml import read_document

    return from_document(read_document(text))
