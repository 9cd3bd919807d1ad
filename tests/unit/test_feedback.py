"""Families of feedback: their text, their sizes, and what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fasim.errors import ConfigError
from fasim.feedback import BASES, CODE_BITS, MODIFIERS, Family, parse
from fasim.rng import stream

K, J, SEED = 10, 400, 7
SHAPE = (K, J)
SYMMETRIC = ("uniform", "kaiming", "nokland", "gaussian", "crafton", "pocketnn", "b7")
UNIFORM = ("uniform", "kaiming", "nokland", "crafton", "pocketnn")
WITH_NUMBER = ("uniform:0.5", "gaussian:0.25", "b1:0.02", "b4:0.3", "b5:0.02", "b7:0.5")
MODIFIED = tuple(modifier.example for modifier in MODIFIERS.values())
SPARSE = ("k:3", "nm:2:4", "block:5", "density:0.3")


def allowed(base: str, modifier: str) -> bool:
    """What the documentation promises, said once more."""
    kind = MODIFIERS[modifier.partition(":")[0]].kind
    if kind == "sharing":
        return True
    if kind == "origin":
        return base in UNIFORM
    if kind == "scale":
        return base in SYMMETRIC and base != "pocketnn"
    if kind == "values" or modifier.startswith("rank"):
        return base in SYMMETRIC
    return base in (*SYMMETRIC, "b1", "b5")


PAIRS = [(base, modifier) for base in BASES for modifier in MODIFIED]


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "modifier"), PAIRS)
def test_every_base_with_every_modifier_is_read_or_refused(base: str, modifier: str) -> None:
    text = f"{base}+{modifier}"
    if not allowed(base, modifier):
        with pytest.raises(ConfigError) as caught:
            parse(text)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    family = parse(text)
    assert parse(family.text) == family
    assert len(family.source.splitlines()) == 2
    arrays = family.draw(1, SHAPE, SEED)
    assert {part: array.shape for part, array in arrays.items()} == family.arrays(SHAPE)
    for part, array in arrays.items():
        assert array.dtype == (np.int32 if part in ("index", "start") else np.float64)
        assert array.flags.c_contiguous
        if part not in ("index", "start"):
            assert 0 < np.abs(array).max() <= family.bound(SHAPE)


@pytest.mark.parametrize("text", [*BASES, *WITH_NUMBER, "uniform:1e-05", "uniform:1e+20", "nokland+k:2+sign+shared"])
def test_text_goes_round(text: str) -> None:
    assert parse(text).text == text


def test_modifiers_in_any_order_are_one_family() -> None:
    assert parse("uniform+shared+sign+k:3") == parse("uniform+k:3+sign+shared")
    assert parse("uniform+lfsr:8").text == "uniform+lfsr"
    assert parse("uniform:1").text == parse("uniform:1.0").text == "uniform:1"


@pytest.mark.parametrize(
    "text", ["uniform", "gaussian:0.5", "crafton+k:2", "nokland+sign", "kaiming+rank:2", "uniform+lfsr:8"]
)
def test_a_scale_multiplies_every_value_and_the_bound(text: str) -> None:
    plain, scaled = parse(text), parse(f"{text}+scale:0.25")
    assert scaled.text.endswith("+scale:0.25")
    before, after = plain.dense_matrix(1, SHAPE, SEED), scaled.dense_matrix(1, SHAPE, SEED)
    assert np.abs(after).max() > 0
    np.testing.assert_allclose(after, 0.25 * before, rtol=1e-12)
    # of a low-rank matrix the bound is that of a factor, and the product of both is scaled
    assert scaled.bound(SHAPE) == pytest.approx(plain.bound(SHAPE) * (0.5 if plain.structure == "rank" else 0.25))
    assert parse(f"{text}+scale:1") == plain


def test_a_family_says_what_it_is() -> None:
    family = parse("crafton+lfsr:4+ternary+shared")
    assert family == Family("crafton", encoding="ternary", generated_bits=4, shared=True)
    assert family.generated
    assert not parse("crafton").generated
    assert {parse(f"uniform+{name}").encoding for name in CODE_BITS} == set(CODE_BITS)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("gauss", "did you mean 'gaussian'"),
        ("Uniform", "unknown feedback 'Uniform': there are b1, b2"),
        ("uniform:", "positive number"),
        ("uniform:-1", "positive number"),
        ("uniform:inf", "positive number"),
        ("uniform:nan", "positive number"),
        ("b4:1.5", "at most 1"),
        ("kaiming:1", "takes no number"),
        ("b2:1", "takes no number"),
        ("uniform+", "unknown modifier ''"),
        ("uniform+shard", "did you mean 'shared'"),
        ("uniform+k", "such as +k:1"),
        ("uniform+k:0", "whole numbers"),
        ("uniform+k:1.5", "whole numbers"),
        ("uniform+nm:2", "such as +nm:2:4"),
        ("uniform+nm:5:4", "5 of every 4"),
        ("uniform+sign:1", "no number"),
        ("uniform+density:0", "above 0"),
        ("uniform+density:1.1", "at most 1"),
        ("uniform+lfsr:0", "whole numbers"),
        ("uniform+lfsr:33", "32 bits"),
        ("uniform+lfsr:1:2", "such as +lfsr:8"),
        ("uniform+k:1+rank:2", "one is allowed"),
        ("uniform+scale:0", "positive number, such as +scale:0.5"),
        ("uniform+scale", "such as +scale:0.5"),
        ("b1+scale:2", "a base without ones or whole numbers: uniform, kaiming, nokland, gaussian, crafton, b7"),
        ("uniform+sign+pow2", "one is allowed"),
        ("uniform+shared+shared", "one is allowed"),
        ("uniform+rank:2+sign", "outer products"),
        ("uniform+density:.5+shared", "slice"),
        ("uniform+lfsr+k:1", "stores nothing"),
        ("uniform+lfsr:2+ternary", "lfsr:3"),
    ],
)
def test_refusals_name_what_is_needed(text: str, needed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert needed in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shape", "needed"),
    [
        ("uniform+block:4", (10, 8), "1, 2, 5, 10"),
        ("uniform+rank:11", (10, 20), "at most 10"),
        ("uniform+rank:1", (1, 20), "two outputs"),
        ("uniform+density:0.001", (10, 20), "above 0.0025"),
        ("b4:0.001", (10, 20), "above 0.0025"),
        ("uniform+k:1", (8, 3, 3, 4), "convolution weights"),
    ],
)
def test_impossible_shapes_are_refused(text: str, shape: tuple[int, ...], needed: str) -> None:
    family = parse(text)
    for method in (family.bound, family.storage, family.arrays, lambda s: family.draw(1, s, SEED)):
        with pytest.raises(ConfigError, match=needed):
            method(shape)


# --- dense bases ----------------------------------------------------------------------------------------------------

NARROW, ROOT = 1 / math.sqrt(3), math.sqrt(J)
SCALES = {
    "uniform": (math.sqrt(6 / J), NARROW),
    "uniform:0.5": (0.5, NARROW),
    "kaiming": (math.sqrt(6 / J), NARROW),
    "nokland": (1 / ROOT, NARROW),
    "crafton": (1 / ROOT, NARROW),
    "crafton+k:3": (math.sqrt(math.sqrt(3 * K) / J), NARROW),
    "gaussian": (4 / ROOT, 0.25),
    "gaussian:0.3": (1.2, 0.25),
    "b7": (0.04, 0.25),
    "b7:0.5": (2.0, 0.25),
}


@pytest.mark.parametrize("text", SCALES)
def test_bounds_and_deviations(text: str) -> None:
    bound, std_over_bound = SCALES[text]
    family = parse(text)
    values = np.concatenate([family.draw(layer, SHAPE, SEED)[""].ravel() for layer in (1, 2, 3)])
    assert family.bound(SHAPE) == pytest.approx(bound, rel=1e-12)
    assert np.abs(values).max() <= bound
    if family.base != "gaussian" and family.base != "b7":
        assert np.abs(values).max() > 0.99 * bound
    # 3 standard errors of the deviation of a Gaussian, the widest of the two
    assert values.std() == pytest.approx(std_over_bound * bound, rel=3 / math.sqrt(2 * values.size))


@pytest.mark.parametrize("shape", [SHAPE, (10, 3, 3, 4)])
@pytest.mark.parametrize("text", ["uniform", "uniform:0.5", "kaiming", "nokland"])
def test_uniform_draws_are_numpys_bit_for_bit(text: str, shape: tuple[int, ...]) -> None:
    family = parse(text)
    units = math.prod(shape[1:])
    limit = {"uniform:0.5": 0.5, "nokland": 1 / math.sqrt(units)}.get(text, math.sqrt(6 / units))
    drawn = family.draw(3, shape, SEED)[""]
    assert drawn.shape == shape
    assert drawn.tobytes() == stream(SEED, "feedback", 3).uniform(-limit, limit, shape).tobytes()
    assert family.bound(shape) == limit
    assert family.dense_matrix(3, shape, SEED).shape == (shape[0], units)


def test_gaussian_draws_are_clipped() -> None:
    values = parse("gaussian:1").draw(1, (10, 20_000), SEED)[""]
    plain = stream(SEED, "feedback", 1).normal(0, 1, values.shape)
    assert (values == np.clip(plain, -4, 4)).all()
    assert (values != plain).any()


def test_draws_know_neither_initial_weights_nor_other_layers() -> None:
    own = parse("uniform").draw(1, SHAPE, SEED)[""].ravel()
    weights = stream(SEED, "init", 1).uniform(-1, 1, SHAPE).ravel()
    other = parse("uniform").draw(2, SHAPE, SEED)[""].ravel()
    for stranger in (weights, other, parse("uniform").draw(1, SHAPE, SEED + 1)[""].ravel()):
        assert abs(np.corrcoef(own, stranger)[0, 1]) < 4 / math.sqrt(own.size)


# --- the matrices of ones -------------------------------------------------------------------------------------------


def noise(text: str = "b7") -> np.ndarray:
    return parse(text).dense_matrix(1, SHAPE, SEED)


def test_ones_are_added_to_the_same_noise() -> None:
    assert noise("b1") - noise() == pytest.approx(np.ones(SHAPE))
    assert noise("b3") - noise() == pytest.approx(np.eye(K, J))
    ones = noise("b6") - noise()
    assert np.rint(ones) == pytest.approx(ones)
    assert np.rint(ones).sum() == round(0.1 * K * J)
    assert np.abs(noise("b1:0.3") - 1).max() > 0.5


def test_b2_reaches_only_the_first_units() -> None:
    matrix = noise("b2")
    assert (matrix[:, :K] == np.eye(K)).all()
    assert not matrix[:, K:].any()


def test_b4_holds_an_exact_number_of_ones() -> None:
    assert sorted(np.unique(noise("b4")).tolist()) == [0, 1]
    assert noise("b4").sum() == round(0.1 * K * J)
    assert noise("b4:0.317").sum() == round(0.317 * K * J)


def test_b5_is_ones_with_uniform_noise() -> None:
    values = noise("b5") - 1
    assert 0.0099 < np.abs(values).max() <= 0.01
    assert values.std() == pytest.approx(0.01 / math.sqrt(3), rel=0.02)


# --- coded values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", SYMMETRIC)
def test_sign_is_the_sign_at_the_rms(base: str) -> None:
    plain, coded = noise(base), noise(f"{base}+sign")
    level = parse(f"{base}+sign").bound(SHAPE)
    assert (coded == level * np.sign(plain)).all()
    assert level == pytest.approx(np.sqrt(np.mean(plain**2)), rel=0.03)


@pytest.mark.parametrize("base", SYMMETRIC)
def test_ternary_drops_small_values_and_keeps_the_rms(base: str) -> None:
    family, plain, coded = parse(f"{base}+ternary"), noise(base), noise(f"{base}+ternary")
    level = family.bound(SHAPE)
    assert sorted(np.unique(coded).tolist()) == [-level, 0, level]
    assert (np.sign(coded) == np.where(coded == 0, 0, np.sign(plain))).all()
    dropped, kept = np.abs(plain[coded == 0]).max(), np.abs(plain[coded != 0]).min()
    assert dropped < kept
    assert kept == pytest.approx(0.5 * np.abs(plain).mean(), rel=0.03)
    assert np.sqrt(np.mean(coded**2)) == pytest.approx(np.sqrt(np.mean(plain**2)), rel=0.03)
    assert np.mean(coded == 0) == pytest.approx(0.25 if base in UNIFORM else math.erf(0.5 / math.sqrt(math.pi)), abs=0.03)


@pytest.mark.parametrize("base", SYMMETRIC)
def test_powers_of_two_are_the_nearest_of_eight(base: str) -> None:
    plain, coded = noise(base), noise(f"{base}+pow2")
    top = parse(f"{base}+pow2").bound(SHAPE)
    levels = top / 2.0 ** np.arange(8)
    assert math.frexp(top)[0] == 0.5
    assert top / math.sqrt(2) <= parse(base).bound(SHAPE) < top * math.sqrt(2)
    distance = np.abs(np.log2(np.abs(plain)[..., None]) - np.log2(levels))
    assert (coded == np.sign(plain) * levels[distance.argmin(-1)]).all()
    assert len(np.unique(np.abs(coded))) >= 6


# --- sparse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["uniform", "gaussian", "nokland+sign", "b1", "b7+pow2"])
@pytest.mark.parametrize("structure", SPARSE)
def test_sparse_is_the_dense_matrix_of_a_mask(base: str, structure: str) -> None:
    head, plus, coding = base.partition("+")
    sparse = parse(f"{head}+{structure}{plus}{coding}").dense_matrix(2, SHAPE, SEED)
    dense = parse(base).dense_matrix(2, SHAPE, SEED)
    assert (sparse == np.where(sparse != 0, dense, 0)).all()
    count = {"k:3": 3 * J, "nm:2:4": 6 * J, "block:5": 5 * J, "density:0.3": round(0.3 * K * J)}[structure]
    assert np.count_nonzero(sparse) == count


@pytest.mark.parametrize(
    ("structure", "outputs", "counts"),
    [("k:1", 10, 1), ("k:3", 10, 3), ("nm:1:4", 10, 3), ("nm:3:4", 10, 8), ("nm:2:4", 9, 5), ("block:2", 10, 2)],
)
def test_every_unit_has_its_exact_count(structure: str, outputs: int, counts: int) -> None:
    family = parse(f"uniform+{structure}")
    shape = (outputs, 50)
    index = family.draw(1, shape, SEED)["index"]
    assert (np.diff(index, axis=1) > 0).all()
    assert family.storage(shape) == "ell"
    matrix = family.dense_matrix(1, shape, SEED)
    assert (np.count_nonzero(matrix, axis=0) == counts).all()
    assert np.count_nonzero(matrix, axis=1).min() > 0, "every output reaches someone"


def test_n_of_every_m() -> None:
    mask = parse("uniform+nm:3:4").dense_matrix(1, SHAPE, SEED) != 0
    assert [mask[first : first + 4].sum(0).tolist() for first in (0, 4, 8)] == [[3] * J, [3] * J, [2] * J]


def test_blocks_share_their_outputs() -> None:
    index = parse("uniform+block:5").draw(1, (K, 53), SEED)["index"]
    for first in range(0, 53, 5):
        group = index[first : first + 5]
        assert (group == group[0]).all()
        assert group[0].tolist() in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert len(np.unique(index[::5, 0])) == 2


def test_csr_is_in_order() -> None:
    arrays = parse("uniform+density:0.3").draw(1, SHAPE, SEED)
    assert arrays["start"][0] == 0
    assert arrays["start"][-1] == len(arrays["index"]) == len(arrays[""])
    for first, last in zip(arrays["start"][:-1], arrays["start"][1:], strict=True):
        assert (np.diff(arrays["index"][first:last]) > 0).all()
    assert len(np.unique(np.diff(arrays["start"]))) > 3


@pytest.mark.parametrize("base", ["uniform", "gaussian:0.2", "b5", "uniform+sign"])
@pytest.mark.parametrize(
    "full", ["k:10", "k:99", "nm:4:4", "nm:10:12", "block:10", "block:11", "density:1", "density:0.99999"]
)
def test_full_density_is_the_dense_matrix(base: str, full: str) -> None:
    family = parse("+".join((base.partition("+")[0], full, *base.split("+")[1:])))
    assert family.storage(SHAPE) == "dense"
    assert family.arrays(SHAPE) == {"": SHAPE}
    assert family.bound(SHAPE) == parse(base).bound(SHAPE)
    assert family.draw(1, SHAPE, SEED)[""].tobytes() == parse(base).draw(1, SHAPE, SEED)[""].tobytes()


def test_crafton_at_full_density_has_the_scale_of_its_formula() -> None:
    limit = 1 / math.sqrt(J / math.sqrt(K * K))
    matrix = parse("crafton+k:10").draw(1, SHAPE, SEED)[""]
    assert matrix.tobytes() == stream(SEED, "feedback", 1).uniform(-limit, limit, SHAPE).tobytes()


@pytest.mark.parametrize(
    ("base", "std"), [("uniform:0.6", 0.6 / math.sqrt(3)), ("gaussian:0.2", 0.2), ("crafton", 1 / ROOT)]
)
def test_low_rank_has_the_deviation_of_its_base(base: str, std: float) -> None:
    family = parse(f"{base}+rank:2")
    assert family.storage(SHAPE) == "low_rank"
    matrix = family.dense_matrix(1, SHAPE, SEED)
    assert np.linalg.matrix_rank(matrix) == 2
    assert matrix.std() == pytest.approx(std)


def test_factors_of_a_nearly_constant_product_are_clipped() -> None:
    """A few seeds in a hundred draw nearly equal numbers; dividing by their deviation would blow the factors up."""
    family = parse("uniform:1+rank:1")
    largest = [max(np.abs(part).max() for part in family.draw(1, (2, 2), seed).values()) for seed in range(200)]
    assert max(largest) == family.bound((2, 2))


# --- shared ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["uniform", "gaussian", "b3", "uniform+k:3", "uniform+nm:2:4", "uniform+block:5", "uniform+rank:2", "uniform+lfsr"],
)
def test_shared_layers_are_slices_of_one_matrix(text: str) -> None:
    family = parse(f"{text}+shared")
    whole = family.dense_matrix(1, (K, 64), SEED, widest=64)
    assert whole.tobytes() == family.dense_matrix(5, (K, 64), SEED).tobytes(), "keyed by no layer"
    for layer, units in ((2, 33), (3, 7)):
        part = family.dense_matrix(layer, (K, units), SEED, widest=64)
        assert part == pytest.approx(whole[:, :units], rel=1e-12, abs=0)
        assert family.bound((K, units), widest=64) == family.bound((K, 64))
    assert whole == pytest.approx(parse(text).dense_matrix(0, (K, 64), SEED), rel=1e-12, abs=0)


def test_shared_needs_the_widest_layer() -> None:
    with pytest.raises(ConfigError, match="the widest layer has 20 units, but this one 30"):
        parse("uniform+shared").draw(1, (K, 30), SEED, widest=20)
    assert parse("uniform").bound((K, 30), widest=20) == parse("uniform").bound((K, 30))
