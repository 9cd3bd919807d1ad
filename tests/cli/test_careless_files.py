"""Files that a command would have spoiled, or stumbled over: kept, written into, or refused in one line."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fasim.cli import command
from fasim.errors import DataError
from fasim.result_lines import append, done

TRAIN = ("train", "--net", "64-8-10", "--epochs", "1")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def typed(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == code, result.output
    assert code == 0 or result.stderr.count("\n") == 1
    return result.stderr if code else result.stdout


def test_a_refused_run_leaves_the_settings_of_the_one_before() -> None:
    typed(*TRAIN, "--out", "kept")
    before = Path("kept/config.toml").read_bytes()
    typed(*TRAIN, "--datapath", "s8", "--lr", "0.3", "--out", "kept", code=2)
    assert Path("kept/config.toml").read_bytes() == before
    typed(*TRAIN, "--datapath", "s8", "--out", "kept")
    assert b"s8" in Path("kept/config.toml").read_bytes()


def test_a_run_goes_on_for_no_fewer_epochs_than_it_has() -> None:
    typed("train", "--net", "64-8-10", "--epochs", "2", "--checkpoint", "--out", "kept")
    message = typed(*TRAIN, "--resume", "kept", code=2)
    assert "epochs 1: the run in kept has 2 already; give that many, or more" in message
    assert json.loads(Path("kept/summary.json").read_text())["epochs"][-1]["epoch"] == 2
    typed("train", "--net", "64-8-10", "--epochs", "2", "--resume", "kept")


@pytest.mark.parametrize("text", ["my precious notes", '{"mine": 1}', "{"])
def test_only_the_beginning_of_a_line_is_cut_off(text: str) -> None:
    path = Path("notes.txt")
    path.write_text(text)
    if text == "{":
        append(path, {"cell": {"seed": 1}})
        assert [line["cell"]["seed"] for line in done(path).values()] == [1]
        return
    with pytest.raises(DataError, match="its end is no result line"):
        append(path, {"cell": {"seed": 1}})
    assert path.read_text() == text


def test_a_link_stays_one_and_its_file_is_written() -> None:
    Path("there.csv").write_text("before")
    Path("link.csv").symlink_to("there.csv")
    typed("energy", "--net", "4-3-2", "--csv", "link.csv")
    assert Path("link.csv").is_symlink()
    assert "before" not in Path("there.csv").read_text()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_into() -> None:
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    typed("energy", "--net", "4-3-2", "--csv", "pipe")
    reader.join(20)
    assert Path("pipe").is_fifo()
    assert "phase" in read[0]


@pytest.mark.parametrize("damage", [(b"(32, 6)", b"(32, 6'"), (b"(32, 6)", b"(True,)"), (b"False", b"Fals ")])
def test_a_damaged_header_is_one_line(damage: tuple[bytes, bytes]) -> None:
    random = np.random.default_rng(1)
    arrays = {"x_train": (32, 6), "x_test": (8, 6), "y_train": (32,), "y_test": (8,)}
    np.savez("d.npz", **{name: random.integers(0, 2, shape, np.uint8) for name, shape in arrays.items()})
    with zipfile.ZipFile("d.npz") as archive, zipfile.ZipFile("damaged.npz", "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "x_train.npy":
                content = content.replace(damage[0], damage[1][: len(damage[0])].ljust(len(damage[0])))
            other.writestr(name, content)
    assert "damaged.npz" in typed("train", "--net", "6-4-2", "--data", "damaged.npz", "--epochs", "1", code=2)


def test_an_ending_in_capitals_is_found_again_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    np.savez("d.npz", **{f"x_{part}": random.integers(0, 255, (40, 6), np.uint8) for part in ("train", "test")},
             **{f"y_{part}": np.arange(40) % 2 for part in ("train", "test")})  # fmt: skip
    Path("d.npz").rename("D.NPZ")
    typed("train", "--net", "6-4-2", "--data", "D.NPZ", "--epochs", "1", "--out", "kept")
    folder = Path("kept").absolute()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    typed("run", str(folder / "config.toml"))
