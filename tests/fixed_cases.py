"""Cases on which a backend is held against the integer reference: every rule, layer, option and table of a datapath."""

from __future__ import annotations

import random
from typing import Any

from fasim.schedule import StepSettings
from tests.fixed_bridge import Case

RULES = ["bp", "fa", "dfa", "sdfa", "drtp", "shallow", "ifa", "kp", "dkp", "lafs", "hybrid"]
RULES += ["strategy1", "strategy2", "strategy3", "strategy1_aux", "strategy2_aux", "strategy3_aux"]
DENSE_ONLY = {"ifa", *(rule for rule in RULES if rule.startswith("strategy"))}
DIRECT = ["dfa", "sdfa", "drtp", "lafs", "dkp", "hybrid"]
NORM = {"norm": {"format": "s12.8"}}
MOMENTUM = {"momentum": {"format": "s16.15", "rounding": "RND", "overflow": "SAT", "factor": "115/128"}}
MAPS = "6x6x2-3c3-2p-4c3s2-7-4"
AVERAGE = "6x6x1-3c3-2a-6-4"


def _case(rule: str, net: str = "9-8-7-6-4", tables: dict[str, Any] | None = None, **given: Any) -> Case:
    own = {name: given.pop(name) for name in ("preset", "rate", "seed", "first_step", "steps") if name in given}
    options: dict[str, Any] = {
        str(name): given.pop(name)
        for name in ("hidden", "output", "batch_norm", "dropout", "input_dropout", "dropout_kind", "init")
        if name in given
    }
    return Case(net, rule, StepSettings(given.pop("batch", 5), **given), options, tables=tables or {}, **own)


def of_every_rule() -> list[Case]:
    """Return each rule on dense layers, and on maps where it is stated for them."""
    found = []
    for number, rule in enumerate(RULES):
        for preset in ("s8", "s16", "s8_stoch"):
            found.append(_case(rule, preset=preset, seed=number))
        found.append(_case(rule, hidden="relu", loss="cross_entropy", hook="post_pool", dropout=0.5, seed=number))
        found.append(_case(rule, hidden="sigmoid", loss="mse", error_scale="raw", seed=number))
        found.append(_case(rule, loss="mse", output="linear", hidden="linear", seed=number))
        if rule not in DENSE_ONLY:
            found.append(_case(rule, MAPS, hidden="relu", loss="cross_entropy", batch=2, seed=number))
            found.append(_case(rule, AVERAGE, hook="post_pool", batch=2, dropout=0.5, seed=number, preset="s16"))
    return found


def of_layers() -> list[Case]:
    """Return normalisation, dropout, targets, adversaries, optimizers, clipping, decay."""
    found = []
    for rule in ("bp", "dfa", "strategy3"):
        found.append(_case(rule, tables=NORM, batch_norm=True))
        found.append(_case(rule, tables=NORM, batch_norm=True, hidden="relu", dropout=0.5, input_dropout=0.5))
        found.append(_case(rule, dropout=0.75, dropout_kind="classical", hook="post_pool"))
        found.append(_case(rule, "9-8-7-9", target="input", fgsm=0.05, loss="mse"))
        found.append(_case(rule, fgsm=0.1, input_dropout=0.5, hidden="relu"))
        found.append(_case(rule, tables=MOMENTUM, optimizer="momentum", clip="value:0.02"))
        frozen = "2" if rule == "bp" else ""
        found.append(_case(rule, weight_decay=2.0**-6, decay_kind="decoupled", clip="value:0.5", freeze=frozen))
        found.append(_case(rule, weight_decay=2.0**-6, decay_kind="decoupled", preset="s8_stoch"))
    for rule in ("bp", "dfa", "hybrid"):
        found.append(_case(rule, MAPS, tables=NORM, batch_norm=True, batch=2))
        found.append(_case(rule, AVERAGE, tables=NORM, batch_norm=True, batch=2, hidden="relu", fgsm=0.1))
    for rule in ("kp", "dkp"):
        master = {"feedback": {"master_bits": 14}}
        found.append(_case(rule, tables=master))
        found.append(_case(rule, tables=master | MOMENTUM, optimizer="momentum"))
        found.append(_case(rule, tables=master, weight_decay=2.0**-5, decay_kind="decoupled", preset="s8_stoch"))
        found.append(_case(rule, MAPS, tables=master, batch=2))
    return found


def of_feedback() -> list[Case]:
    """Return every storage of feedback."""
    families: tuple[str, ...] = (
        "uniform+k:2",
        "uniform+nm:1:2",
        "uniform+block:2",
        "uniform+density:0.3",
        "uniform+rank:2",
    )
    families += ("uniform+sign", "uniform+ternary", "uniform+pow2", "uniform+lfsr", "uniform+shared", "b5")
    rules = ("dfa", "sdfa", "drtp")
    return [_case(rule, feedback=family, loss=loss) for rule in rules for family in families for loss in ("bce", "mse")]


def of_accumulators() -> list[Case]:
    """Return registers that overflow."""
    texts = (
        "18 SAT end",
        "16 WRAP end",
        "17 SAT every_mac",
        "16 WRAP every_mac",
        "16 SAT_SYM every_mac lanes:3",
        "16 SAT_ZERO every_mac tree:2",
        "14 SAT every_mac RND:11",
        "14 NUMERIC_STD every_mac TRN:10 lanes:2",
        "20 SAT every_mac RND_CONV:12 tree:4",
    )
    bias = {"bias": {"format": "s12.10"}}
    found = []
    for text in texts:
        for rule in ("bp", "dfa", "ifa", "strategy2"):
            found.append(_case(rule, tables=bias | {"accumulator": text}))
        found.append(_case("bp", MAPS, tables=bias | {"accumulator": text}, batch=2))
        for sums in ("forward", "transport", "gradient") if ":" not in text.split()[-1] else ("forward", "transport"):
            found.append(_case("bp", tables=bias | {"accumulators": {sums: text}}))
    return found


def of_casts() -> list[Case]:
    """Return roundings, overflows, random words, rates."""
    modes = ["TRN", "TRN_INF", "TRN_ZERO", "TRN_AWAY", "TRN_MAG"]
    modes += ["RND", "RND_MIN_INF", "RND_INF", "RND_ZERO", "RND_CONV", "RND_CONV_ODD", "JAM"]
    modes += ["JAM_UNBIASED", "STOCH", "STOCH_PSEUDO"]
    overflows = ["SAT", "SAT_SYM", "SAT_ZERO", "WRAP", "NUMERIC_STD"]
    found = []
    for number, mode in enumerate(modes):
        over = overflows[number % 5]
        cast = {"rounding": mode, "overflow": over}
        tables = {
            "preact": {"format": "s9.7", **cast},
            "error": {"format": "s7.7", **cast},
            "delta": {"format": "s6.7", **cast},
            "weight": cast,
            "update": cast,
        }
        found += [_case(rule, tables=tables, rate=0.5) for rule in ("bp", "dfa")]
    stoch = {table: {"rounding": "STOCH"} for table in ("preact", "error", "delta", "weight", "update")}
    lfsr = {"source": "lfsr", "width": 24, "taps": [24, 23, 22, 17], "shifts": 3, "seed": 9}
    for source in ({"bits": 4}, {"bits": 4, "half": True}, lfsr, lfsr | {"bits": 5, "half": True}):
        found += [_case(rule, tables=stoch | {"random": source}) for rule in ("bp", "sdfa")]
    for rate, value in (("multiply:4", 0.03), ("multiply:8", 0.1), ("divide", 0.01), ("none:9", 0.125)):
        wide = {
            "update": {"rate": rate, "rounding": "RND_CONV"},
            "master": {"format": "s24.20"},
            "bias": {"format": "s24.20"},
        }
        found += [_case(rule, tables=wide, rate=value) for rule in ("bp", "drtp")]
    for bits in (0, 8):
        one = {"update": {"kind": "plus_minus_one"}, "random": {"bits": bits}, "master": {"format": "s12.9"}}
        found += [_case(rule, tables=one) for rule in ("bp", "drtp")]
    one = {"update": {"kind": "plus_minus_one"}, "random": lfsr, "master": {"format": "s12.9"}}
    found.append(_case("dfa", tables=one, weight_decay=2.0**-4, decay_kind="decoupled"))
    symmetric = {"weight": {"format": "sym8.7"}, "delta": {"format": "sym6.7"}, "master": {"format": "sym16.15"}}
    found.append(_case("dfa", tables=symmetric))
    return found


def of_tables() -> list[Case]:
    """Return functions, divisors, exponents from the data, casts of signals and gradients, formats of single tensors."""
    narrow = {"rounding": "RND", "overflow": "SAT"}
    signal = {"signal": {"format": "s8.6", **narrow}}
    gradient = {"gradient": {"format": "s10.8", **narrow}}
    found = []
    for form in ("hard", "pwl"):
        for hidden, output, loss in (("tanh", "sigmoid", "bce"), ("sigmoid", "tanh", "mse")):
            found.append(
                _case("dfa", tables={"functions": {"tanh": form, "sigmoid": form}}, hidden=hidden, output=output, loss=loss)
            )
    found.append(
        _case("bp", tables={"functions": {"relu": "clipped", "softmax_bits": 3}}, hidden="relu", loss="cross_entropy")
    )
    whole = {
        "input": {"format": "u8.0"},
        "weight": {"format": "sym16.0", **narrow},
        "master": {"format": "none"},
        "bias": {"format": "sym16.0"},
        "preact": {"format": "sym16.0", "rounding": "TRN_ZERO", "overflow": "SAT", "divide": "256 * fan_in"},
        "act": {"format": "sym8.0", **narrow},
        "slope": {"format": "u8.0", **narrow},
        "error": {"format": "s32.0", **narrow, "target": "127"},
        "delta": {"format": "s32.0", **narrow},
        "update": {"rounding": "TRN_ZERO", "overflow": "SAT", "rate": "divide"},
        "feedback": {"format": "s16.0"},
        "functions": {"tanh": "pocket", "slope": "divide"},
    }
    found += [_case(rule, tables=whole, loss="mse", rate=0.001) for rule in ("bp", "dfa")]
    for divide in ("4", "wage", "2 * fan_in"):
        fine = {"preact": {"format": "s14.13" if "fan" in divide else "s10.6", "divide": divide}}
        fine |= (
            {"input": {"format": "u8.2"}, "act": {"format": "s8.4"}, "bias": {"format": "s16.6"}} if "fan" in divide else {}
        )
        found += [_case(rule, tables=fine, loss="mse") for rule in ("bp", "dfa")]
    for exponent in ("keep", "discard", "keep nearest", "discard nearest:1"):
        for name in ("error", "delta"):
            found += [_case(rule, tables={"dynamic": {name: exponent}}) for rule in ("bp", "dfa", "sdfa", "kp")]
        found += [_case(rule, tables=signal | {"dynamic": {"signal": exponent}}) for rule in ("bp", "drtp", "ifa")]
        found += [_case(rule, tables=gradient | {"dynamic": {"gradient": exponent}}) for rule in ("bp", "dkp")]
        everything = {"dynamic": dict.fromkeys(("preact", "error", "delta", "signal", "gradient"), exponent)}
        both = signal | gradient | everything
        found.append(_case("bp", tables=both, hidden="relu", loss="cross_entropy"))
        found.append(_case("bp", MAPS, tables=both, hidden="relu", loss="cross_entropy", batch=2))
        found.append(_case("dfa", tables=both, hidden="relu", loss="cross_entropy", dropout=0.5))
    for rule in ("bp", "fa", "dfa", "ifa", "strategy3", "kp"):
        found.append(_case(rule, tables=signal | gradient))
    found.append(_case("dfa", tables=signal, feedback="uniform+rank:2"))
    single = {"tensors": {"preact.2": "s9.5", "act.1": "s7.5", "delta.2": "s10.9", "weight.3": "s6.5", "bias.1": "s12.9"}}
    found += [_case(rule, tables=single) for rule in ("bp", "dfa", "ifa")]
    for init in ("torch", "xavier", "he", "zero"):
        found.append(_case("dfa", tables={"weight": {"range": "init"}}, init=init))
    found.append(_case("bp", MAPS, tables={"bias": {"format": "none"}}, batch=2))
    found.append(_case("dfa", tables={"bias": {"format": "none"}}))
    return found


def at_random(count: int) -> list[Case]:
    """Return nets, settings and datapaths drawn together, so that options meet that no list above brings together."""
    draw = random.Random(20)
    modes = ["TRN", "TRN_ZERO", "RND", "RND_INF", "RND_CONV", "RND_CONV_ODD", "JAM_UNBIASED", "STOCH", "STOCH_PSEUDO"]
    overflows = ["SAT", "SAT", "SAT_SYM", "SAT_ZERO", "WRAP", "NUMERIC_STD"]

    def cast(low: int, high: int, whole: tuple[int, int], *, random_modes: bool = True) -> dict[str, str]:
        bits = draw.randint(low, high)
        rounding = draw.choice(modes if random_modes else modes[:-2])
        fmt = f"s{bits}.{bits - draw.randint(*whole)}"
        return {"format": fmt, "rounding": rounding, "overflow": draw.choice(overflows)}

    found = []
    for number in range(count):
        rule, conv = draw.choice(RULES), draw.random() < 0.3
        conv = conv and rule not in DENSE_ONLY
        norm = draw.random() < 0.3
        loss = draw.choice(["bce", "mse", "cross_entropy"])
        update = {"rounding": draw.choice(modes), "overflow": draw.choice(overflows)}
        tables: dict[str, Any] = {
            "input": {"format": draw.choice(["u8.8", "u8.6"])},
            "weight": cast(5, 10, (0, 2)),
            "master": {"format": draw.choice(["none", "s16.15", "s14.10"])},
            "bias": {"format": draw.choice(["none", "s12.10", "s9.7"])},
            "preact": cast(6, 10, (2, 4), random_modes=not norm),
            "error": cast(5, 10, (-1, 2)),
            "delta": cast(5, 10, (-1, 2), random_modes=not norm),
            "update": update,
            "feedback": {"bits": draw.randint(4, 9)} | ({"master_bits": 14} if draw.random() < 0.5 else {}),
        }
        if norm:
            tables |= NORM
        if draw.random() < 0.3:
            tables["signal"] = cast(6, 10, (1, 4))
        if draw.random() < 0.3 and not norm:
            tables["gradient"] = cast(8, 14, (2, 6))
        if draw.random() < 0.3:
            tables["random"] = {"bits": draw.randint(0, 6), "half": draw.random() < 0.5}
        if draw.random() < 0.3 and not norm:
            tables["accumulator"] = f"{draw.randint(15, 22)} {draw.choice(overflows)} {draw.choice(['end', 'every_mac'])}"
        settings: dict[str, Any] = {
            "loss": loss,
            "hook": draw.choice(["pre_pool", "post_pool"]),
            "batch": draw.randint(2, 4),
        }
        settings |= {"error_scale": draw.choice(["raw", "loss_gradient"]), "fgsm": draw.choice([0.0, 0.0, 0.1])}
        settings |= {"hidden": draw.choice(["tanh", "sigmoid", "relu", "linear"]), "batch_norm": norm}
        settings |= {"dropout": draw.choice([0.0, 0.5]), "input_dropout": draw.choice([0.0, 0.0, 0.5])}
        if draw.random() < 0.4:
            settings |= {"weight_decay": 2.0 ** -draw.randint(3, 8), "decay_kind": "decoupled"}
        if draw.random() < 0.3:
            settings["clip"] = "value:0.3"
        net = draw.choice([MAPS, AVERAGE]) if conv else draw.choice(["7-6-3", "9-8-7-6-4", "5-4-6-2"])
        found.append(_case(rule, net, tables, rate=2.0 ** -draw.randint(0, 5), seed=number, **settings))
    return found
