"""Data sets, checkpoints and lines of anybody's: no crash, no hang, no flood of memory, no write elsewhere, no code."""

from __future__ import annotations

import gzip
import io
import json
import math
import tracemalloc
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fasim import checkpoint, result_lines
from fasim.arrays import MAX_UNZIPPED
from fasim.data import cifar, csv, idx, load, npz
from fasim.errors import DataError
from fasim.export.start import from_checkpoint
from fasim.run_files import Watch
from fasim.run_trace import TraceLog
from fasim.training import train
from tests.hostile import QUICK, THOROUGH, changed, changed_document, fuzz, refused_in_one_line

EXAMPLES = pytest.mark.parametrize("examples", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)])
BOUND = 1 << 26


def idx_bytes(dims, values):
    return b"\0\0\x08" + bytes([len(dims)]) + b"".join(size.to_bytes(4, "big") for size in dims) + values


def npz_bytes(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


X, Y = np.arange(48, dtype=np.uint8).reshape(4, 12), np.array([0, 1, 0, 1])
OWN = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
RECORDS = bytes([3, *range(256)] * 12)[: 2 * 3073]
FILES = {
    "idx": (idx.read, [idx_bytes((2, 3), bytes(6)), gzip.compress(idx_bytes((2, 3), bytes(6)), mtime=0)]),
    "npz": (npz.read, [npz_bytes(**OWN), npz_bytes(np.savez_compressed, **OWN)]),
    "csv": (csv.read, [b"1,2,a\n3,4,b\n5,6,a\n", b"x,y,label\n1.5,2e3,0\n-1,nan,1\n"]),
    "lines": (result_lines.done, [b'{"cell": {"seed": 1}, "seconds": 2}\n{"cell": {}}\n']),
}


@EXAMPLES
@pytest.mark.parametrize("what", FILES)
def test_files_with_other_bytes(what, examples, tmp_path):
    read, seeds = FILES[what]
    path = tmp_path / "mine"

    def check(content):
        path.write_bytes(content)
        refused_in_one_line(read, path)

    fuzz(examples, changed(seeds), check)
    assert list(tmp_path.iterdir()) == [path]


@EXAMPLES
def test_cifar_with_other_bytes(examples, tmp_path):
    archive = replace(cifar.ARCHIVES["cifar10"], train={"a.bin": ""}, test={"b.bin": ""})

    def check(content):
        folder = tmp_path / "cifar10"
        folder.mkdir(exist_ok=True)
        for name in ("a.bin", "b.bin"):
            (folder / name).write_bytes(content)
        refused_in_one_line(cifar.read, archive)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASIM_DATA", str(tmp_path))
        fuzz(examples, changed([RECORDS]), check)


# --- checkpoints -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the files of a small run with a checkpoint, by name."""
    folder = tmp_path_factory.mktemp("run")
    train("64-6-10", "digits", rule="dfa", datapath="s8", epochs=1, folder=folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fill(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def go_on(folder):
    """Export from a checkpoint, and resume it."""
    from_checkpoint(folder, needs_data=False)
    train("64-6-10", "digits", rule="dfa", datapath="s8", epochs=1, folder=folder, resume=True)


@EXAMPLES
def test_checkpoints_with_other_entries(examples, run, tmp_path):
    folder = tmp_path / "run"
    document = json.loads(run[checkpoint.FILE])

    def check(content):
        fill(folder, run | {checkpoint.FILE: json.dumps(content).encode()})
        refused_in_one_line(go_on, folder)

    fill(folder, run)
    assert refused_in_one_line(go_on, folder) == ""
    fuzz(examples, changed_document([document]), check)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name for path in folder.iterdir()} == set(run)


@EXAMPLES
@pytest.mark.parametrize("name", ["checkpoint.json", "checkpoint-1.npz"])
def test_checkpoints_with_other_bytes(name, examples, run, tmp_path):
    def check(content):
        fill(tmp_path / "run", run | {name: content})
        refused_in_one_line(checkpoint.load, tmp_path / "run")

    fuzz(examples, changed([run[name]]), check)


@EXAMPLES
@pytest.mark.parametrize("what", [Watch, TraceLog])
def test_lines_of_epochs(what, examples, tmp_path):
    record = {"epoch": 1, "layer": 1, "name": "act.1", "class": "act", "zero_fraction": 0.5, "angles": [1.0]}
    data = load("digits")

    def check(content):
        for name in ("angles.jsonl", "trace.jsonl"):
            (tmp_path / name).write_bytes(content)
        if what is Watch:
            refused_in_one_line(partial(Watch, data, tmp_path, resume=True))
        else:
            refused_in_one_line(partial(TraceLog, tmp_path, resume=True))

    fuzz(examples, changed([(json.dumps(record) + "\n").encode() * 2]), check)


def test_a_checkpoint_names_no_file_elsewhere(run, tmp_path):
    fill(tmp_path / "other", run)
    document = json.loads(run[checkpoint.FILE])
    for path in ("../other/checkpoint-1.npz", str(tmp_path / "other" / "checkpoint-1.npz"), "..", "."):
        content = json.dumps(document | {"arrays": path}).encode()
        fill(tmp_path / "run", {checkpoint.FILE: content})
        with pytest.raises(DataError):
            checkpoint.load(tmp_path / "run")
        assert [one.name for one in (tmp_path / "run").iterdir()] == [checkpoint.FILE]


def test_members_with_paths_are_written_nowhere(run, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("../evil.npy", "/tmp/evil-of-fasim.npy", "x/../../evil.npy"):
            plain = io.BytesIO()
            np.save(plain, np.zeros(3))
            archive.writestr(name, plain.getvalue())
    fill(tmp_path / "run", run | {"checkpoint-1.npz": file.getvalue()})
    (tmp_path / "own.npz").write_bytes(file.getvalue())
    with pytest.raises(DataError):
        npz.read(tmp_path / "own.npz")
    with pytest.raises(DataError, match="missing"):
        train("64-6-10", "digits", rule="dfa", datapath="s8", epochs=1, folder=tmp_path / "run", resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.npz", "run"]
    assert not Path("/tmp/evil-of-fasim.npy").exists()


# --- code ------------------------------------------------------------------------------------------


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_nothing_is_unpickled(run, tmp_path):
    trap = tmp_path / "trap"
    objects = np.array([Evil(str(trap))], dtype=object)
    pickled = npz_bytes(np.savez, **(OWN | {"x_train": objects}))
    assert not trap.exists()
    with np.load(io.BytesIO(pickled), allow_pickle=True) as file:
        _ = file["x_train"]
    assert trap.exists()  # the trap works
    trap.unlink()
    (tmp_path / "own.npz").write_bytes(pickled)
    with pytest.raises(DataError, match="pickled"):
        load(str(tmp_path / "own.npz"))
    fill(tmp_path / "run", run | {"checkpoint-1.npz": npz_bytes(weights=objects)})
    with pytest.raises(DataError, match="pickled objects are not read"):
        checkpoint.load(tmp_path / "run")
    # a bare pickle under the name of an array
    fill(tmp_path / "run", {"checkpoint-1.npz": pickled[:10] + objects.dumps()})
    with pytest.raises(DataError):
        checkpoint.load(tmp_path / "run")
    assert not trap.exists()


# --- memory ----------------------------------------------------------------------------------------


def lying_npz(shape, names, stored=b"\0" * 64, method=zipfile.ZIP_STORED, claim=None):
    """Return an archive whose arrays claim a shape; with `claim`, its directory claims as many bytes, too."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(f"{name}.npy", header.getvalue() + stored)
        for info in archive.infolist():
            if claim is not None:
                info.file_size = claim + len(header.getvalue())
                info.compress_size = info.file_size
    return file.getvalue()


def peak(function, *arguments):
    """Return what a refusal says, and the most memory that it took."""
    tracemalloc.start()
    try:
        text = refused_in_one_line(function, *arguments)
        return text, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


AXES = [(2**15,) * 4, (2**31, 2**29), (2**32 - 1,) * 4, (2**26,)]


@pytest.mark.parametrize("dims", AXES, ids=str)
@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_file_that_claims_more_than_it_holds(dims, zipped, tmp_path):
    content = idx_bytes(dims, bytes(100))
    path = tmp_path / "mine"
    path.write_bytes(gzip.compress(content) if zipped else content)
    text, most = peak(idx.read, path)
    assert str(16 if len(dims) == 3 else 4 + 4 * len(dims) + math.prod(dims)) in text
    assert most < BOUND


@pytest.mark.parametrize("claim", [None, 2**42])
@pytest.mark.parametrize("shape", [(2**40,), (2**20, 2**20), (2**62,)], ids=str)
def test_an_array_that_claims_more_than_it_holds(shape, claim, run, tmp_path):
    (tmp_path / "own.npz").write_bytes(lying_npz(shape, npz.KEYS, claim=claim))
    fill(tmp_path / "run", run | {"checkpoint-1.npz": lying_npz(shape, ["weight.1"], claim=claim)})
    for read, path in ((npz.read, tmp_path / "own.npz"), (checkpoint.load, tmp_path / "run")):
        text, most = peak(read, path)
        assert text
        assert "not enough memory" not in text
        assert most < BOUND


def test_what_unzips_to_more_than_the_limit_is_refused_by_its_name(tmp_path):
    """Bombs that say truly how large they are: the header comes first, so that nothing of the rest is unzipped."""
    side = math.isqrt(MAX_UNZIPPED) + 1
    path = tmp_path / "mine"
    path.write_bytes(gzip.compress(idx_bytes((side, side), bytes(1000))) + bytes(side * side // 1000))
    text, most = peak(idx.read, path)
    assert f"{MAX_UNZIPPED} at most are unzipped" in text
    assert most < BOUND


def test_json_that_is_nested_without_end(run, tmp_path):
    for text in (b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000):
        fill(tmp_path / "run", run | {checkpoint.FILE: text, "angles.jsonl": text + b"\n", "trace.jsonl": text + b"\n"})
        (tmp_path / "lines.jsonl").write_bytes(text + b"\n")
        folder = tmp_path / "run"
        assert refused_in_one_line(checkpoint.load, folder)
        assert refused_in_one_line(result_lines.done, tmp_path / "lines.jsonl")
        assert refused_in_one_line(partial(Watch, load("digits"), folder, resume=True))
        assert refused_in_one_line(partial(TraceLog, folder, resume=True))
