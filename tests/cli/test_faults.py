"""What goes wrong around a command: a full disk, a folder that cannot be written, a second process, Ctrl-C, no memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fasim import checkpoint, plots
from fasim.cli import command
from fasim.errors import OutputError
from fasim.files import ResultFolder
from fasim.locks import FILE as LOCK
from fasim.locks import FolderLock
from fasim.progress import COMPILING, Progress
from fasim.result_lines import append, claimed, done

TRAIN = ["train", "--net", "64-12-10", "--datapath", "s8", "--threads", "1"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*arguments):
    return CliRunner().invoke(command, list(arguments))


def halves(folder):
    return [path.name for path in Path(folder).rglob("*.part")]


def states(epochs):
    """Return the state after each epoch of the run of `TRAIN`."""
    found = {}
    for count in range(1, epochs + 1):
        assert invoke(*TRAIN, "--epochs", str(count), "--checkpoint", "--out", f"whole-{count}").exit_code == 0
        found[count] = checkpoint.load(Path(f"whole-{count}")).state
    return found


def check_whole(folder, expected):
    """Hold what a folder has of a run against the same run elsewhere; return its finished epochs."""
    assert halves(folder) == []
    if not Path(folder, checkpoint.FILE).exists():
        return 0
    saved = checkpoint.load(Path(folder))
    for name, array in expected[len(saved.epochs)].items():
        np.testing.assert_array_equal(saved.state[name], array)
    return len(saved.epochs)


# --- full disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, pytest.param(errno.EDQUOT, marks=pytest.mark.slow)])
def test_no_write_that_fails_leaves_half_a_file(code, monkeypatch):
    """The disk is full from the n-th write on, for every n of a run; then there is room, and the run goes on."""
    expected, write_bytes, wrote = states(2), Path.write_bytes, []

    def fail(path, data):
        wrote.append(path.name)
        if len(wrote) > room:
            write_bytes(path, data[: len(data) // 2])
            raise OSError(code, os.strerror(code))
        return write_bytes(path, data)

    for room in range(9):
        wrote.clear()
        folder = f"full-{room}"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", fail)
            result = invoke(*TRAIN, "--epochs", "2", "--checkpoint", "--out", folder)
        if len(wrote) <= room:
            break
        assert result.exit_code == 2, result.output
        line = [one for one in result.stderr.splitlines() if one.startswith("fasim: ")]
        assert len(line) == 1, result.stderr
        assert os.strerror(code) in line[0]
        finished = check_whole(folder, expected)
        how = ["--resume", folder] if finished else ["--checkpoint", "--out", folder]
        assert invoke(*TRAIN, "--epochs", "2", *how).exit_code == 0
        assert check_whole(folder, expected) == 2
    assert room == 8  # configuration, two files an epoch, then summary, table, picture


def with_mount(options, script, *arguments):
    """Run a shell script in a mount namespace of its own, where the folder `disk` is a file system of its own."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("needs Linux with unshare")
    Path("disk").mkdir()
    whole = f"mount -t tmpfs -o {options} none disk || exit 99\n{script}"
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", whole, "sh", sys.executable, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode in (1, 99) and "fasim" not in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    return done


@pytest.mark.parametrize("size", ["8k", "24k", "48k"])
def test_a_full_disk(size):
    expected = states(3)
    script = '"$@"; code=$?; mkdir kept; cp -a disk/run kept/; exit $code'
    done = with_mount(f"size={size}", script, "-m", "fasim", *TRAIN, "--epochs", "3", "--checkpoint", "--out", "disk/run")
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert check_whole("kept/run", expected) == {"8k": 0, "24k": 1, "48k": 3}[size]


def test_a_folder_that_cannot_be_written():
    script = 'mkdir disk/run; mount -o remount,ro disk; "$@"'
    done = with_mount("size=1m", script, "-m", "fasim", *TRAIN, "--epochs", "1", "--out", "disk/run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "cannot write into disk/run: Read-only file system; give a folder that can be written" in done.stderr


# --- two processes ---------------------------------------------------------------------------------


@POSIX
def test_a_folder_belongs_to_one_process_until_that_is_killed():
    words = [sys.executable, "-m", "fasim", *TRAIN, "--checkpoint", "--out", "run", "--epochs", "100000"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        _ = [next(process.stderr) for _ in range(2)]
        while not Path("run", checkpoint.FILE).exists():
            next(process.stderr)
        for given in (["--resume", "run"], ["--out", "run"]):
            result = invoke(*TRAIN, "--epochs", "100000", *given)
            assert result.exit_code == 2
            assert f"run: process {process.pid} on " in result.stderr
            assert "is at work there; wait until it has ended, or give another folder" in result.stderr
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert Path("run", LOCK).exists()
    finished = len(checkpoint.load(Path("run")).epochs)
    Path("run", ".checkpoint-9.npz.1.part").write_bytes(b"half")
    result = invoke(*TRAIN, "--epochs", str(finished + 1), "--resume", "run")
    assert result.exit_code == 0, result.output
    assert not Path("run", LOCK).exists()
    assert halves("run") == []


def test_a_lock_is_let_go_and_taken_again(tmp_path):
    for _ in range(2):
        lock = FolderLock(tmp_path)
        with pytest.raises(OutputError, match=f"process {os.getpid()} on .* is at work there"):
            FolderLock(tmp_path)
        lock.release()
        lock.release()
        assert list(tmp_path.iterdir()) == []


@POSIX
def test_a_lock_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    """Its holder removed the file between our opening and our locking it: a third process may hold the new one."""
    from fasim import locks

    flock, first = locks.fcntl.flock, []

    def late(file, how):
        if not first:
            first.append(file)
            (tmp_path / LOCK).unlink()
        return flock(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", late)
    lock = FolderLock(tmp_path)
    assert os.path.samestat(os.stat(tmp_path / LOCK), os.fstat(lock._file))
    lock.release()


@POSIX
def test_a_file_system_without_locks_is_used_all_the_same(tmp_path, monkeypatch):
    from fasim import locks

    def none(file, how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    FolderLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "lines.jsonl", {"seed": 0}) as mine:
        append(tmp_path / "lines.jsonl", {"cell": {"seed": 0}})
    assert mine
    assert list(done(tmp_path / "lines.jsonl")) == ['{"seed": 0}']


def test_notes_go_with_a_folder_that_is_discarded_and_stay_with_results():
    empty, kept = (ResultFolder(Path(name), alone=True) for name in ("empty", "kept"))
    for folder in (empty, kept):
        folder.note("config.toml", b"x")
    Path("kept", "summary.json").write_text("{}")
    empty.discard()
    kept.discard()
    assert sorted(path.name for path in Path().rglob("*")) == ["config.toml", "kept", "summary.json"]


# --- Ctrl-C ----------------------------------------------------------------------------------------


def test_a_second_ctrl_c_while_files_are_written(monkeypatch):
    expected = states(2)

    def press(*_):
        raise KeyboardInterrupt

    def after_two(progress, epoch):
        if epoch.epoch == 2:
            press()

    monkeypatch.setattr(Progress, "training_epoch_done", after_two)
    monkeypatch.setattr(plots, "learning_curves", press)
    result = invoke(*TRAIN, "--epochs", "9", "--checkpoint", "--out", "run")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-2:] == [
        "fasim: stopped; the epochs that have finished are kept",
        "fasim: stopped again; every file that is there is whole",
    ]
    assert check_whole("run", expected) == 2
    assert not Path("run", LOCK).exists()
    assert len(json.loads(Path("run", "summary.json").read_text())["epochs"]) == 2


def test_ctrl_c_within_a_write_leaves_no_half_file(monkeypatch):
    expected, write_bytes, wrote = states(2), Path.write_bytes, []

    def press(path, data):
        wrote.append(path)
        if len(wrote) == 4:  # the arrays of the second checkpoint
            write_bytes(path, data[:100])
            raise KeyboardInterrupt
        return write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", press)
        result = invoke(*TRAIN, "--epochs", "9", "--checkpoint", "--out", "run")
    assert result.exit_code == 130, result.output
    assert check_whole("run", expected) == 1
    assert invoke(*TRAIN, "--epochs", "2", "--resume", "run").exit_code == 0
    assert check_whole("run", expected) == 2


@POSIX
def test_ctrl_c_twice_of_a_process():
    process = subprocess.Popen(
        [sys.executable, "-m", "fasim", *TRAIN, "--epochs", "100000", "--checkpoint", "--out", "run"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = (line for line in process.stderr if not line.startswith(COMPILING))
    _ = [next(lines) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    told = next(line for line in lines if line.startswith("fasim: "))
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, told + rest
    assert told == "fasim: stopped; the epochs that have finished are kept\n"
    assert "Traceback" not in rest
    assert halves("run") == []
    assert len(checkpoint.load(Path("run")).epochs) >= 2


# --- no memory -------------------------------------------------------------------------------------


@POSIX
def test_no_memory():
    import resource

    limit = 2**31
    result = subprocess.run(
        [sys.executable, "-m", "fasim", "train", "--net", "64-40000-40000-10", "--epochs", "1"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert "not enough memory" in result.stderr
    assert "use a smaller network or batch" in result.stderr
    assert not Path("runs").exists() or not any(Path("runs").iterdir())
