"""Exported files: hex words, golden vectors, state; that they are what the run computes, and whole or not at all."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasim import export, train
from fasim.backends import Samples, get
from fasim.backends.cpu import CpuProgram
from fasim.data import Data
from fasim.errors import ConfigError, DataError, OutputError
from fasim.export.hexfiles import from_hex, to_hex
from fasim.fixedpoint import Fixed, load_datapath
from fasim.network import Network
from fasim.rng import stream
from fasim.schedule import StepSettings

NET, CONV = "8-6-4-3", "4x4x1-2c3-2p-5-3"


def small(inputs=8, samples=24):
    random = np.random.default_rng(3)
    x, y = random.integers(0, 256, (samples, inputs), dtype=np.uint8), random.integers(0, 3, samples)
    return Data("small", x, y, x[:8], y[:8], (inputs,), 3)


def start(rule="dfa", datapath="s8", net=NET, batch_size=2, data=None):
    network = Network.parse(net)
    return export.fresh(
        network,
        data or small(network.inputs),
        rule=rule,
        datapath=load_datapath(datapath),
        learning_rate=2.0**-5,
        settings=StepSettings(batch_size=batch_size),
    )


def write(folder, begin, steps=3):
    with export.whole_folder(folder) as inner:
        export.write_vectors(inner, begin, steps)
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def raw(folder, manifest, path):
    about = manifest["files"][path]
    return from_hex((folder / path).read_bytes(), Fixed.parse(about["format"]), tuple(about["shape"]))


@pytest.mark.parametrize(
    ("values", "bits", "text"),
    [
        ([0, 1, -1, 127, -128], 8, "00 01 ff 7f 80"),
        ([[1, -2], [3, -512]], 10, "001 3fe 003 200"),
        ([-1, 0], 1, "1 0"),
        ([-1, 5], 5, "1f 05"),
        ([-(2**62), 2**62 - 1, -1], 63, "4000000000000000 3fffffffffffffff 7fffffffffffffff"),
    ],
)
def test_words(values, bits, text):
    assert to_hex(np.array(values), bits).decode() == text.replace(" ", "\n") + "\n"


@given(st.integers(1, 63), st.booleans(), st.data())
def test_words_are_read_back(bits, signed, data):
    fmt = Fixed(bits, 0, signed)
    values = np.array(data.draw(st.lists(st.integers(fmt.lo, fmt.hi), min_size=1, max_size=6)))
    text = to_hex(values, bits)
    assert {len(line) for line in text.split()} == {-(-bits // 4)}
    assert np.array_equal(from_hex(text, fmt, values.shape), values)


@pytest.mark.parametrize("text", [b"00\n01\n", b"00\n01\nxy\n", b"00\n01\n200\n"])
def test_damaged_words_are_refused(text):
    with pytest.raises(DataError, match="export the vectors again"):
        from_hex(text, Fixed(8, 7), (3,))


@pytest.mark.parametrize("datapath", ["s8", "s16"])
@pytest.mark.parametrize(("rule", "net"), [("dfa", NET), ("drtp", NET), ("bp", NET), ("sdfa", NET), ("fa", CONV)])
def test_every_value_is_that_of_the_interpreter(rule, net, datapath, tmp_path):
    begin = start(rule, datapath, net)
    manifest = write(tmp_path / "out", begin)
    _, schedule, state, codes, labels, order = begin.steps(3)
    program = get("reference")(schedule)
    for step, rows in zip(manifest["steps"], order, strict=True):
        given = Samples(codes[rows], labels[rows])
        last = {manifest["files"][path]["tensor"]: path for op in step["ops"] for path in op["writes"]}
        found = program.values(state, given, list(last))
        for name, path in last.items():
            frac = Fixed.parse(manifest["files"][path]["format"]).frac
            expected = found[name].reshape(-1) * 2.0**frac
            assert np.array_equal(raw(tmp_path / "out", manifest, path).reshape(-1), expected), path
        assert np.array_equal(raw(tmp_path / "out", manifest, step["given"]["label"]), given.labels)
        assert np.array_equal(raw(tmp_path / "out", manifest, step["given"]["act.0"]).reshape(2, -1), given.codes)


@pytest.mark.parametrize("datapath", ["s8", "s8_stoch"])
def test_steps_leave_the_state_of_training(datapath, tmp_path):
    begin = start("dfa", datapath)
    manifest = write(tmp_path / "out", begin)
    _, schedule, state, codes, labels, order = begin.steps(3)
    assert manifest["initial"].keys() - state.keys() == schedule.tables.keys()
    for name in manifest["initial"].keys() & state.keys():
        assert np.array_equal(raw(tmp_path / "out", manifest, manifest["initial"][name]), state[name])
    before = state["weight.1"].copy()
    CpuProgram(schedule).run(state, Samples(codes, labels), order.reshape(-1), 0)
    assert not np.array_equal(before, state["weight.1"])
    for name, path in manifest["steps"][-1]["final"].items():
        expected = state[name] if name in state else schedule.tables[name]
        assert np.array_equal(raw(tmp_path / "out", manifest, path), expected), name


def test_manifest_names_what_each_file_and_op_is(tmp_path):
    begin = start("drtp")
    manifest = write(tmp_path / "out", begin)
    files = manifest["files"]
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.hex")}
    assert files.keys() == written
    for path, about in files.items():
        text = (tmp_path / "out" / path).read_bytes()
        assert hashlib.sha256(text).hexdigest() == about["sha256"]
        assert text.count(b"\n") == np.prod(about["shape"])
    known = set(manifest["initial"].values())
    for number, step in enumerate(manifest["steps"]):
        assert step["number"] == number
        known |= set(step["given"].values())
        for op in step["ops"]:
            assert set(op["reads"]) <= known, "an op reads what has not been written yet"
            known |= set(op["writes"])
    assert known == written
    update, cast = (
        next(op for op in manifest["steps"][1]["ops"] if op["site"] == site) for site in ("update.weight.1", "preact.2")
    )
    assert update["reads"] == ["step0/master.1.v1.hex", "step1/gradient.weight.1.hex"]
    assert update["scalars"]["learning_shift"] == 5
    assert {"shift": 0, "rounding": "RND", "overflow": "SAT", "lo": -32768, "hi": 32767}.items() <= update["attrs"].items()
    assert {"shift": 9, "lo": -512, "hi": 511}.items() <= cast["attrs"].items()
    assert files["initial/weight.1.hex"]["shape"] == [6, 8]
    assert files["initial/weight.1.hex"]["axes"] == "JI"
    assert manifest["datapath"] == begin.datapath.to_toml()
    assert (manifest["seed"], manifest["rule"], manifest["network"]) == (0, "drtp", NET)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    data = small(64)
    settings = StepSettings(batch_size=4)
    options = {"rule": "dfa", "datapath": "s8", "settings": settings, "learning_rate": 2.0**-4, "seed": 5}
    train("64-6-3", data, epochs=1, folder=tmp_path, **options)
    begin = export.from_checkpoint(tmp_path, data=data)
    manifest = write(tmp_path / "out", begin, 6)
    assert manifest["first_step"] == manifest["steps"][0]["number"] == 6
    order = stream(5, "shuffle", 1).permutation(24)
    assert np.array_equal(raw(tmp_path / "out", manifest, "step0/act.0.hex"), data.x_train[order[:4]])
    # six steps are the whole second epoch
    after = train("64-6-3", data, epochs=2, **options).state
    for name in ("weight.1", "master.2", "bias.2"):
        assert np.array_equal(raw(tmp_path / "out", manifest, manifest["steps"][-1]["final"][name]), after[name])


def test_a_checkpoint_of_other_data_or_datapath_is_refused(tmp_path):
    train("8-4-3", small(), datapath="s8", epochs=1, folder=tmp_path, settings=StepSettings(batch_size=4))
    with pytest.raises(ConfigError, match="data small was a file; give it with --data"):
        export.from_checkpoint(tmp_path)
    with pytest.raises(ConfigError, match="other samples than these; give its own with --data"):
        export.from_checkpoint(tmp_path, data=small(samples=16))
    with pytest.raises(ConfigError, match="other datapath than these; give its own with --datapath"):
        export.from_checkpoint(tmp_path, data=small(), datapath=load_datapath("s16"))
    assert export.from_checkpoint(tmp_path, needs_data=False).data is None


def test_float_and_too_many_steps_are_refused_and_nothing_stays(tmp_path):
    with pytest.raises(ConfigError, match="float32: hex vectors hold integers"):
        write(tmp_path / "out", start(datapath="float32"))
    with pytest.raises(ConfigError, match=r"--steps 13: the epoch to export has 12 whole batches of 2; give 1 \.\. 12"):
        write(tmp_path / "out", start(), 13)
    with pytest.raises(ConfigError, match="--steps 0"):
        write(tmp_path / "out", start(), 0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), export.whole_folder(tmp_path / "out") as inner:
        (inner / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with export.whole_folder(tmp_path / "out") as inner:
        (inner / "one").write_text("x")
        assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "one"]
    with pytest.raises(OutputError, match="something is there already"), export.whole_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "one").read_text() == "x"


@pytest.mark.parametrize("datapath", ["s8", "float32"])
def test_npz_holds_the_state_and_says_what_it_means(datapath, tmp_path):
    begin = start(datapath=datapath)
    path = export.write_npz(tmp_path, begin)
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        arrays = {name: file[name] for name in file.files if name != "about"}
    assert about["tensors"].keys() == arrays.keys()
    assert {"weight.1", "weight.3", "bias.2", "feedback.1"} <= arrays.keys()
    assert ("master.1" in arrays) == (datapath == "s8")
    for name, array in arrays.items():
        tensor = about["tensors"][name]
        assert list(array.shape) == tensor["shape"]
        if name in begin.state:
            assert np.array_equal(array, begin.state[name])
    assert about["tensors"]["weight.2"]["format"] == {"s8": "s8.7", "float32": "float32"}[datapath]


def test_an_unknown_form_is_refused():
    with pytest.raises(ConfigError, match="unknown form of export 'hexx': there are hex, npz, qonnx; did you mean 'hex'"):
        export.check_form("hexx")
