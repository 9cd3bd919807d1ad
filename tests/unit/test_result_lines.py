"""Result lines: whole or not at all, whoever is killed, and however many processes write."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fasim import result_lines
from fasim.errors import DataError, OutputError
from fasim.result_lines import append, claimed, done, key


def line(seed, **more):
    return {"cell": {"table": "t", "seed": seed}, **more}


def test_lines_come_back_and_the_last_of_a_cell_holds(tmp_path):
    path = tmp_path / "new" / "lines.jsonl"
    assert done(path) == {}
    for entry in (line(0, value=1), line(1, value=2), line(0, value=3)):
        append(path, entry)
    assert done(path) == {
        key({"seed": 0, "table": "t"}): line(0, value=3),
        key({"seed": 1, "table": "t"}): line(1, value=2),
    }


@pytest.mark.parametrize("rest", ['{"cell": {"ta', "x" * (result_lines.BLOCK + 7), '{"cell": {}}'])
def test_what_a_killed_writer_left_is_no_line_and_is_cut_off(tmp_path, rest):
    path = tmp_path / "lines.jsonl"
    append(path, line(0))
    with path.open("a") as file:
        file.write(rest)
    assert list(done(path)) == [key(line(0)["cell"])]
    append(path, line(1))
    assert [json.loads(text) for text in path.read_text().splitlines()] == [line(0), line(1)]


def test_a_file_with_nothing_but_half_a_line_starts_anew(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"cell"')
    append(path, line(0))
    assert path.read_text() == json.dumps(line(0)) + "\n"


@pytest.mark.parametrize("text", ["no json\n", "[1]\n", '{"seed": 1}\n'])
def test_a_damaged_line_is_named(tmp_path, text):
    path = tmp_path / "lines.jsonl"
    append(path, line(0))
    with path.open("a") as file:
        file.write(text)
    with pytest.raises(DataError, match="lines.jsonl, line 2: no result line"):
        done(path)


def test_a_full_disk_leaves_the_lines_that_were_there(tmp_path, monkeypatch):
    path = tmp_path / "lines.jsonl"
    append(path, line(0))
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
    with pytest.raises(OutputError, match="cannot write .*lines.jsonl: no space left"):
        append(path, line(1))
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        append(tmp_path / "file" / "lines.jsonl", line(0))


def test_what_is_no_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        append(tmp_path / "lines.jsonl", line(0, value=float("nan")))
    assert done(tmp_path / "lines.jsonl") == {}


def test_processes_share_a_file(tmp_path):
    path, writers, lines = tmp_path / "lines.jsonl", 4, 50
    code = (
        "import sys; from pathlib import Path; from fasim.result_lines import append\n"
        f"for n in range({lines}):\n"
        "    append(Path(sys.argv[1]), {'cell': {'writer': sys.argv[2], 'n': n}, 'rest': 'x' * 999})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), str(writer)]) for writer in range(writers)]
    assert [process.wait() for process in running] == [0] * writers
    assert len(done(path)) == writers * lines


def test_a_cell_is_run_by_one_at_a_time_and_once(tmp_path):
    path, cell = tmp_path / "new" / "lines.jsonl", line(0)["cell"]
    with claimed(path, cell) as first, claimed(path, cell) as second, claimed(path, line(1)["cell"]) as other:
        assert (first, second, other) == (True, False, True)
    with claimed(path, cell) as again:
        assert again
        append(path, line(0))
    with claimed(path, cell) as finished:
        assert not finished
    assert os.listdir(path.parent) == ["lines.jsonl"]


def test_a_killed_process_keeps_no_cell(tmp_path):
    path, cell = tmp_path / "lines.jsonl", line(0)["cell"]
    code = (
        "import sys, time; from pathlib import Path; from fasim.result_lines import claimed\n"
        "with claimed(Path(sys.argv[1]), {'table': 't', 'seed': 0}) as mine:\n"
        "    print(mine, flush=True); time.sleep(999)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        try:
            with claimed(path, cell) as mine:
                assert not mine
        finally:
            holder.kill()
        holder.wait()
        with claimed(path, cell) as mine:
            assert mine
    assert os.listdir(tmp_path) == []


def test_a_cell_of_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write beside"), claimed(tmp_path / "file" / "lines.jsonl", {}):
        pass
