"""Sweeps on Dask whose workers and whose own process are killed: what comes out is what an undisturbed sweep writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from fasim.cli import command

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install 'fasim[sweep]'")
if os.name != "posix":
    pytest.skip("kills processes by POSIX signals", allow_module_level=True)

WAIT_S = 300
# what must not depend on when, where and how often a point was begun
FILES = ("config.toml", "identity.json", "result.json", "epochs.csv")


def document(path, rules, seeds, epochs):
    path.write_text(
        f'[settings]\nnet = "64-16-10"\nepochs = {epochs}\n\n[grid]\nrule = {json.dumps(rules)}\n'
        f'datapath = ["float32", "s8"]\nlearning_rate = ["2^-6", "2^-8"]\nseed = {list(range(seeds))}\n',
        encoding="utf-8",
    )
    return len(rules) * 2 * 2 * seeds


def start(path, out):
    """Start a sweep with two workers, as the leader of a group of its own."""
    with open(f"{out}.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fasim", "sweep", str(path), "--workers", "2", "--out", str(out)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finished(out):
    return {entry.name for entry in (out / "points").glob("[!.]*")} if (out / "points").is_dir() else set()


def wait_for(process, out, count):
    """Wait until so many points are there; the sweep must still be running then."""
    end = time.monotonic() + WAIT_S
    while len(finished(out)) < count:
        assert process.poll() is None, Path(f"{out}.log").read_text()
        assert time.monotonic() < end, f"{len(finished(out))} of {count} points after {WAIT_S} s"
        time.sleep(0.02)


def workers(process):
    """The worker processes of a sweep, by their ids."""
    import psutil

    children = psutil.Process(process.pid).children()
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]


def kill_all(process):
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(WAIT_S) == -signal.SIGKILL


def contents(out):
    points = {name: {file: (out / "points" / name / file).read_bytes() for file in FILES} for name in finished(out)}
    assert all(json.loads(files["result.json"])["point"] == name for name, files in points.items())
    return points


def clean_run(path, out, *arguments):
    done = CliRunner().invoke(command, ["sweep", str(path), "--out", str(out), "--json", *arguments])
    assert done.exit_code == 0, done.output
    return contents(out)


def killed_and_resumed(path, out, points, moments):
    """Kill a worker at the first moment and the whole sweep at the others, then let it finish; check what stays."""
    process = start(path, out)
    try:
        wait_for(process, out, moments[0])
        before = workers(process)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        for moment in moments[1:]:
            wait_for(process, out, moment)
            kill_all(process)
            made = {name: (out / "points" / name / "made.json").stat().st_mtime_ns for name in finished(out)}
            assert moment <= len(made) < points
            process = start(path, out)
        assert process.wait(WAIT_S) == 0, Path(f"{out}.log").read_text()
    finally:
        if process.poll() is None:
            kill_all(process)
    # what was there before the last start was not run again
    assert made == {name: (out / "points" / name / "made.json").stat().st_mtime_ns for name in made}
    assert not list((out / "points").glob(".*.part")) or len(moments) > 1
    assert not list((out / "failed").iterdir())


def test_a_killed_worker_and_a_killed_sweep_leave_the_results_of_a_clean_run(tmp_path):
    path, out = tmp_path / "grid.toml", tmp_path / "killed"
    points = document(path, ["bp", "dfa", "drtp"], 1, 60)
    killed_and_resumed(path, out, points, (1, 4))
    clean = clean_run(path, tmp_path / "clean", "--workers", "0")
    assert len(clean) == points == 12
    assert contents(out) == clean


@pytest.mark.slow
def test_sixty_points_with_a_worker_killed_and_the_sweep_killed_twice(tmp_path):
    path, out = tmp_path / "grid.toml", tmp_path / "killed"
    points = document(path, ["bp", "fa", "dfa", "sdfa", "drtp"], 3, 200)
    killed_and_resumed(path, out, points, (6, 20, 40))
    clean = clean_run(path, tmp_path / "clean", "--workers", "2")
    assert len(clean) == points == 60
    assert contents(out) == clean


def test_ctrl_c_keeps_what_has_finished_and_says_so(tmp_path):
    path, out = tmp_path / "grid.toml", tmp_path / "stopped"
    points = document(path, ["bp", "dfa", "drtp"], 8, 400)
    process = start(path, out)
    try:
        wait_for(process, out, 2)
        # a terminal sends it to every process of the group
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(WAIT_S) == 130, Path(f"{out}.log").read_text()
    finally:
        if process.poll() is None:
            kill_all(process)
    log = Path(f"{out}.log").read_text(encoding="utf-8")
    there = len(finished(out))
    assert 2 <= there < points
    assert f"{there} of {points} points finished" in " ".join(log.split())
    assert log.count("fasim: stopped; what has finished is kept") == 1
    assert "Traceback" not in log
    assert json.loads((out / "report" / "summary.json").read_text())["finished"] == there
