"""A newcomer's path: from the README to a page, the page's own files and commands in an empty folder, nothing else.

What a newcomer writes - data, a processor, a rule - is below 20 lines each.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from tests import pages

LINES = 20
README = (pages.ROOT / "README.md").read_text(encoding="utf-8")


class Newcomer:
    """Somebody in an empty folder with a page that the README leads to."""

    def __init__(self, page, folder):
        assert f"]({page})" in README, "a page that the README does not lead to"
        self.page, self.folder = page, folder
        self.blocks = pages.blocks((pages.ROOT / page).read_text(encoding="utf-8"))

    def save(self, name):
        """Save one block as the page says; it must be short."""
        path = pages.saved(self.page, name, self.folder)
        assert len(path.read_text().splitlines()) < LINES
        return path

    def type_in(self, word):
        """Type the first command of the page that has a word in it; return the rows that it leaves."""
        commands = [words for block in self.blocks if block.language == "console" for words in block.commands]
        words = next(words for words in commands if any(word in text for text in words))
        assert words[0] == "compare"
        shown = pages.type_in(words)
        (out,) = (line.removeprefix("results: ") for line in shown.splitlines() if line.startswith("results: "))
        rows = json.loads((self.folder / out / "summary.json").read_text())["rows"]
        with (self.folder / out / "rows.csv").open(newline="") as file:
            assert [row["rule"] for row in csv.DictReader(file)] == [row["rule"] for row in rows]
        assert (self.folder / out / "accuracy_energy.png").read_bytes().startswith(b"\x89PNG")
        return {(row["rule"], row["datapath"]): row for row in rows}


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda page: Newcomer(page, tmp_path)


def accuracy(row):
    return row["test_accuracy_mean"]


@pytest.mark.parametrize(("script", "data"), [("make_csv.py", "rings.csv"), ("make_npz.py", "halves.npz")])
def test_own_data(newcomer, tmp_path, script, data):
    me = newcomer("docs/how-to/add-a-data-set.md")
    subprocess.run([sys.executable, me.save(script)], cwd=tmp_path, check=True)
    rows = me.type_in(data)
    assert {datapath for _, datapath in rows} == ({"float32"} if data.endswith(".csv") else {"float32", "s8"})
    for (rule, _), row in rows.items():
        assert len(row["seeds"]) == 3
        assert rule == "shallow" or accuracy(row) > 0.9, f"{rule} does not learn {data}"
    if data == "rings.csv":
        assert accuracy(rows["bp", "float32"]) > accuracy(rows["shallow", "float32"]), "the rings need hidden layers"


def test_own_processor(newcomer):
    me = newcomer("docs/how-to/add-a-processor.md")
    path = me.save("small.toml")
    dear = me.type_in("small.toml")
    path.write_text(path.read_text().replace("read = { value = 21,", "read = { value = 2.1,"))
    cheap = me.type_in("small.toml")
    for key in (("bp", "s8"), ("drtp", "s8")):
        assert cheap[key]["energy_pj_per_sample"]["typical"] < 0.7 * dear[key]["energy_pj_per_sample"]["typical"]
        assert accuracy(cheap[key]) == accuracy(dear[key]) > 0.8


def test_own_rule(newcomer):
    me = newcomer("docs/how-to/add-a-rule.md")
    me.save("pairs.py")
    rows = me.type_in("pairs.py")
    assert {rule for rule, _ in rows} == {"bp", "fa", "pairs", "dfa"}
    macs = {rule: row["macs_per_sample"] for (rule, datapath), row in rows.items() if datapath == "s8"}
    assert macs["dfa"] < macs["pairs"] < macs["fa"] == macs["bp"]
    assert accuracy(rows["pairs", "s8"]) > 0.8
