"""Kill commands with SIGKILL again and again, run them once more, and compare what they leave with an uninterrupted run.

``python tests/kills.py train 200`` kills 200 runs at random moments, each up to three times; ``--every-write 1`` kills one
run at every place where it writes: before a file takes its name, right after, and with half of it written. For each run a
process is forked that has imported everything, which takes a tenth of the time of a new interpreter; ``--fresh`` starts
``python -m fasim`` instead. A line of JSON says what was done; the exit code is 1 if anything differs.

Another command takes part by an entry of `CASES`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
KILLS_OF_A_RUN = 3
POINTS = ("half written", "before its name", "after its name")
SMALL = ["--net", "64-12-10", "--datapath", "s8", "--rule", "kp", "--threads", "1"]
TIMES = (
    "seconds",
    "seconds_per_epoch",
    "train_samples_per_s",
    "run_folder",
    "made",
    "command",
    "datetime",
    "versions",
    "commit",
)


class Case(NamedTuple):
    """A command: its words for a folder in whatever state, and what that folder then holds, without times."""

    words: Callable[[Path], list[str]]
    # raises where something half-written can be read
    found: Callable[[Path], Any]


def train(folder: Path) -> list[str]:
    """Return a run of six epochs, or how it goes on."""
    how = ["--resume", str(folder)] if (folder / "checkpoint.json").exists() else ["--checkpoint", "--out", str(folder)]
    return ["train", *SMALL, "--epochs", "6", *how]


def watch(folder: Path) -> list[str]:
    """Return a shorter run that writes lines after each epoch, too."""
    return ["2" if word == "6" else word for word in train(folder)] + ["--angles", "--trace"]


def trained(folder: Path) -> Any:  # noqa: ANN401
    """Return weights, figures and counts of a run by epoch: what is there of it must be of a finished epoch."""
    from fasim import checkpoint

    read_all(folder)
    if not (folder / "checkpoint.json").exists():
        return None
    saved = checkpoint.load(folder)
    state = {name: [array.dtype.str, array.shape, array.tobytes().hex()] for name, array in saved.state.items()}
    lines = {name: (folder / name).read_text() for name in ("angles.jsonl", "trace.jsonl") if (folder / name).exists()}
    finished = {"state": state, "epochs": without_times(saved.epochs), "sites": saved.sites}
    return finished, lines, without_times(read_all(folder).get("summary.json"))


def compare(folder: Path) -> list[str]:
    """Return a comparison of two rules."""
    return ["compare", *SMALL[:2], "--rules", "bp,drtp", "--datapaths", "s8", "--seeds", "0,1", "--epochs", "1"] + [
        *("--threads", "1", "--out", str(folder))
    ]


def compared(folder: Path) -> Any:  # noqa: ANN401
    """Return the rows, of which there may be fewer after a kill."""
    summary = read_all(folder).get("summary.json")
    return None if summary is None else without_times(summary)


def export(folder: Path) -> list[str]:
    """Return an export of golden vectors."""
    return ["export", "--to", "hex", "--steps", "1", *SMALL[:6], "--batch-size", "2", "--out", str(folder)]


def exported(folder: Path) -> Any:  # noqa: ANN401
    """Return the files, or nothing where there is no folder or an empty one: anything else must be whole."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    files = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
    named = json.loads(files["manifest.json"])["files"]
    assert set(named) <= set(files), sorted(set(named) - set(files))
    return files


def run(folder: Path) -> list[str]:
    """Return an experiment of two cases and two seeds."""
    sys.path.insert(0, str(ROOT))
    from tests.small_experiment import SMALL as EXPERIMENT

    folder.mkdir(exist_ok=True)
    (folder / "small.toml").write_text(EXPERIMENT)
    words = ["run", str(folder / "small.toml"), "--case", "thin", "--epochs", "1", "--threads", "1"]
    return [*words, "--results", str(folder / "lines.jsonl")]


def ran(folder: Path) -> Any:  # noqa: ANN401
    """Return the finished lines by cell, none of them twice."""
    from fasim import result_lines

    path = folder / "lines.jsonl"
    done = result_lines.done(path)
    whole = path.read_text().count("\n") if path.exists() else 0
    assert whole == len(done), f"{whole} lines of {len(done)} cells"
    return {
        cell: without_times({key: line[key] for key in line if key not in ("machine", "cpu")})
        for cell, line in done.items()
    }


GRID = """[settings]
net = "64-12-10"
epochs = 1

[grid]
rule = ["bp", "kp"]
datapath = ["s8"]
seed = [0, 1]
"""


def sweep(folder: Path) -> list[str]:
    """Return a sweep of four points in one process."""
    folder.mkdir(exist_ok=True)
    (folder / "grid.toml").write_text(GRID)
    return ["sweep", str(folder / "grid.toml"), "--workers", "0", "--threads", "1", "--out", str(folder / "out")]


def swept(folder: Path) -> Any:  # noqa: ANN401
    """Return the finished points, every one whole, and the report, which may be of fewer of them after a kill."""
    points = folder / "out" / "points"
    names = [path.name for path in points.iterdir() if not path.name.startswith(".")] if points.exists() else []
    found = {}
    for name in sorted(names):
        assert sorted(read_all(points / name)) == ["config.toml", "identity.json", "made.json", "result.json"]
        files = {path.name: path.read_text() for path in (points / name).iterdir() if path.name != "made.json"}
        assert len(files) == 4, files
        found[name] = files
    read_all(folder / "out")
    return found, without_times(read_all(folder / "out" / "report").get("summary.json"))


CASES = {
    "train": Case(train, trained),
    "watch": Case(watch, trained),
    "compare": Case(compare, compared),
    "export": Case(export, exported),
    "run": Case(run, ran),
    "sweep": Case(sweep, swept),
}


def read_all(folder: Path) -> dict[str, Any]:
    """Read every file that has its name: JSON, lines of JSON, TOML and CSV are parsed, pictures must have their end."""
    import csv
    import tomllib

    found: dict[str, Any] = {}
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.startswith(".") or path.is_dir():
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            found[path.name] = json.loads(content)
        elif path.suffix == ".jsonl":
            found[path.name] = [json.loads(line) for line in content.decode().splitlines()]
        elif path.suffix == ".toml":
            found[path.name] = tomllib.loads(content.decode())
        elif path.suffix == ".csv":
            widths = {len(row) for row in csv.reader(content.decode().splitlines())}
            assert len(widths) == 1, f"{path}: rows of {widths} fields"
            assert content.endswith(b"\n"), path
        elif path.suffix == ".png":
            assert content.endswith(b"IEND\xaeB`\x82"), path
    return found


def without_times(value: Any) -> Any:  # noqa: ANN401
    """Return a value without what differs from one run to the next."""
    if isinstance(value, dict):
        return {key: without_times(entry) for key, entry in value.items() if key not in TIMES}
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


def work(words: list[str], kill_at: int | None) -> None:
    """Run a command in this process and leave it; at the write of that number the process kills itself."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    if kill_at is not None:
        plant(kill_at)
    from fasim.cli import command

    code = 1
    try:
        command.main(words, prog_name="fasim", standalone_mode=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(code)


def plant(kill_at: int) -> None:
    """Let the process die at a place of a write: numbers 3 n, 3 n + 1 and 3 n + 2 are the points of write n."""
    number, point = divmod(kill_at, len(POINTS))
    seen = Counter()
    replace, move, write_bytes, write = Path.replace, Path.rename, Path.write_bytes, os.write

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half(path: Path, data: bytes) -> int:
        if seen["files"] == number and point == 0:
            write_bytes(path, data[: len(data) // 2])
            die()
        return write_bytes(path, data)

    def rename(path: Path, target: Path, how: Callable[[Path, Path], Path] = replace) -> Path:
        if seen["files"] == number and point == 1:
            die()
        renamed = how(path, target)
        if seen["files"] == number and point == 2:
            die()
        seen["files"] += 1
        return renamed

    def move_whole(path: Path, target: Path) -> Path:
        if path.is_dir() and seen["files"] == number and point == 0:
            for file in path.iterdir():
                os.truncate(file, file.stat().st_size // 2)
            die()
        return rename(path, target, move)

    def write_line(file: int, data: bytes) -> int:
        if data.endswith(b"\n"):
            if seen["files"] == number:
                write(file, data[: (0, len(data) // 2, len(data))[point]])
                die()
            seen["files"] += 1
        return write(file, data)

    Path.replace, Path.rename = rename, move_whole  # type: ignore[method-assign, assignment]
    Path.write_bytes, os.write = write_half, write_line  # type: ignore[method-assign, assignment]


class Runner:
    """Starts a command, forked or as a new interpreter, and waits for it or kills it."""

    def __init__(self, fresh: bool) -> None:
        self.fresh = fresh

    def __call__(self, words: list[str], *, kill_after_s: float | None = None, kill_at: int | None = None) -> int:
        """Return the exit code, negative for a signal."""
        if self.fresh:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen([sys.executable, "-m", "fasim", *words], **quiet)  # type: ignore[call-overload]
            if kill_after_s is not None:
                time.sleep(kill_after_s)
                process.kill()
            return int(process.wait())
        child = os.fork()
        if not child:
            work(words, kill_at)
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trial(case: Case, folder: Path, start: Runner, kills: list[dict[str, Any]]) -> tuple[Any, Counter[str]]:
    """Return what a folder holds after a run was killed and gone on with, and what the kills met."""
    met: Counter[str] = Counter()
    for kill in kills:
        if case is CASES["export"] and case.found(folder) is not None:
            break  # an export does not go on, and writes over nothing
        code = start(case.words(folder), **kill)
        if code >= 0:
            met["ended before it was killed" if code == 0 else f"exit code {code}"] += 1
            continue
        met["killed"] += 1
        halves = [path.name for path in folder.parent.rglob(".*.part")]
        met["killed with a file half done"] += bool(halves)
        case.found(folder)
    if not (case is CASES["export"] and case.found(folder) is not None):
        code = start(case.words(folder))
        assert code == 0, f"exit code {code} after {kills}"
    return case.found(folder), met


def main() -> int:
    """Kill, go on, compare; print what was done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("count", type=int, nargs="?", default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--every-write", type=int, default=0, metavar="STRIDE", help="1 is every place, 5 every fifth")
    given = parser.parse_args()
    case, start, draw = CASES[given.case], Runner(given.fresh), random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.chdir(place)
        if not given.fresh:
            warm(case, place / "warm")
        (place / "whole").mkdir()
        started = time.perf_counter()
        assert start(case.words(place / "whole" / "run")) == 0
        whole_s = time.perf_counter() - started
        expected = case.found(place / "whole" / "run")
        total: Counter[str] = Counter()
        for number in range(1_000_000 if given.every_write else given.count):
            folder = place / str(number) / "run"
            folder.parent.mkdir()
            if given.every_write:
                kills: list[dict[str, Any]] = [{"kill_at": number * given.every_write}]
            else:
                kills = [{"kill_after_s": draw.uniform(0, whole_s)} for _ in range(draw.randint(1, KILLS_OF_A_RUN))]
            found, met = trial(case, folder, start, kills)
            if given.every_write and not met["killed"]:
                break
            total.update(met)
            total["runs"] += 1
            total["equal"] += found == expected
            if found != expected:
                print(f"run {number} differs after {kills}", file=sys.stderr)
        print(json.dumps({"case": given.case, "seconds_of_a_run": round(whole_s, 3), **total}))
    return 0 if total["equal"] == total["runs"] else 1


def warm(case: Case, folder: Path) -> None:
    """Import and compile everything once, so that a forked process need not."""
    from fasim.cli import command

    folder.mkdir()
    null = os.open(os.devnull, os.O_RDWR)
    kept = os.dup(1), os.dup(2)
    for stream in (1, 2):
        os.dup2(null, stream)
    command.main(case.words(folder / "run"), prog_name="fasim", standalone_mode=False)
    for stream, old in zip((1, 2), kept, strict=True):
        os.dup2(old, stream)


if __name__ == "__main__":
    sys.exit(main())
