"""The page of a sweep in a real browser: what it draws, sorts, filters and shows under the pointer."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from fasim.page_sweep import page
from fasim.sweep import Group

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
# (rule, datapath, accuracy, energy in nJ, learning rate)
ROWS = (
    ("bp", "float32", 0.98, 40.0, 0.5),
    ("bp", "s8", 0.95, 10.0, 0.25),
    ("dfa", "float32", 0.97, 38.0, 0.5),
    ("dfa", "s8", 0.955, 9.0, 0.0625),
    ("drtp", "</script><b>", 0.9, 8.0, 0.125),
)


def made_up(rule, datapath, accuracy, energy, rate):
    figures = {
        "test_accuracy_mean": accuracy,
        "test_accuracy_std": 0.01,
        "energy_pj_per_sample": {"low": 500 * energy, "typical": 1e3 * energy, "high": 2e3 * energy},
        "energy_ratio_to_bp": {"low": 0.9, "typical": 1.0, "high": 1.1},
        "peak_activation_bytes": 2048,
        "saturation_fraction_mean": 0.5,
        "data_note": "",
    }
    settings = {"rule": rule, "datapath": datapath, "learning_rate": rate, "processor": "generic_45nm", "loss": "bce"}
    return Group(settings, (0, 1, 2), figures, ("a", "b", "c"))


TITLE = 'rules & "widths" {{data}}'
PAGE = page(TITLE, [made_up(*row) for row in ROWS], ["rule", "datapath", "learning_rate"], unfinished=2)


def in_browser(tmp_path, script):
    """Run a script at the end of the page, and return what it gives as JSON."""
    end = f"<script>document.title = JSON.stringify((() => {{ {script} }})());</script></body>"
    path = tmp_path / "page.html"
    path.write_text(PAGE.replace("</body>", end), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=240, check=True
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(title[1]))


def test_the_page_needs_nothing_but_itself():
    assert not re.findall(
        r"""(?:src|href)\s*=|url\(|@import|import\s*\(|fetch\(|https?://(?!www\.w3\.org/2000/svg)""", PAGE
    )
    assert "default-src 'none'" in PAGE
    # a name from a document can neither end the script nor begin an element
    assert "</script><b>" not in PAGE
    assert html.escape(TITLE) in PAGE
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', PAGE, re.DOTALL)
    assert [row["datapath"] for row in json.loads(data[1])["rows"]] == [row[1] for row in ROWS]


READ = """
const column = (number) => [...document.querySelectorAll("#rows tbody tr")].map((row) => row.children[number].textContent);
const dots = () => document.querySelectorAll("#scatter .dot").length;
const lines = () => document.querySelectorAll("#parallel .line").length;
const text = (row) => row.children[0].textContent + row.children[1].textContent;
const front = () => [...document.querySelectorAll("#rows tr.front")].map(text);
const click = (key) => document.querySelector(`th[data-key="${key}"]`).click();
const tick = (value) => document.querySelector(`input[value="${value}"]`).click();
"""


@needs_browser
def test_a_browser_draws_sorts_filters_and_explains(tmp_path):
    found = in_browser(
        tmp_path,
        READ
        + """
        const seen = { title: document.querySelector("h1").textContent, note: document.getElementById("note").textContent };
        seen.start = [column(0), dots(), lines(), front()];
        click("figure"); seen.best = column(4);
        click("figure"); seen.worst = column(4);
        click("rule"); seen.rules = column(0);
        click("learning_rate"); seen.rates = column(2);
        tick("float32"); seen.narrow = [column(1), dots(), lines(), front()];
        tick("bp"); seen.narrower = [column(0), dots(), document.getElementById("count").textContent];
        tick("float32"); tick("bp"); seen.again = [column(0).length, dots()];
        tick("dfa"); seen.without = front().sort(); tick("dfa");
        const dot = document.querySelector('#scatter [data-row="3"]'), hint = document.getElementById("hint");
        seen.hidden = hint.hidden;
        dot.dispatchEvent(new MouseEvent("mouseenter", { clientX: 50, clientY: 60 }));
        seen.hint = [hint.hidden, hint.textContent, document.querySelectorAll(".on").length];
        dot.dispatchEvent(new MouseEvent("mouseleave"));
        seen.after = [hint.hidden, document.querySelectorAll(".on").length];
        return seen;
        """,
    )
    assert found["title"] == TITLE
    assert "2 points of the sweep not finished" in found["note"]
    everything = ["bpfloat32", "dfafloat32", "dfas8", "drtp</script><b>"]
    assert found["start"] == [["bp", "bp", "dfa", "dfa", "drtp"], 5, 5, everything]
    assert found["best"] == ["98.00", "97.00", "95.50", "95.00", "90.00"]
    assert found["worst"] == found["best"][::-1]
    assert found["rules"] == ["bp", "bp", "dfa", "dfa", "drtp"]
    assert found["rates"] == ["0.0625", "0.125", "0.25", "0.5", "0.5"]
    assert found["narrow"] == [["s8", "</script><b>", "s8"], 3, 3, ["dfas8", "drtp</script><b>"]]
    assert found["narrower"][:2] == [["dfa", "drtp"], 2]
    assert found["narrower"][2].startswith("2 of 5 rows shown")
    assert found["again"] == [5, 5]
    # what only a hidden row beats is then at the front
    assert found["without"] == ["bpfloat32", "bps8", "drtp</script><b>"]
    assert found["hidden"] is True
    assert found["hint"][0] is False
    assert "rule: dfa\ndatapath: s8\nlearning rate: 0.0625\nenergy (nJ): 9.0" in found["hint"][1]
    assert "energy: 4.50 to 18.0 nJ over the constants" in found["hint"][1]
    # the dot, the line and the row of the table
    assert found["hint"][2] == 3
    assert found["after"] == [True, 0]


@needs_browser
def test_a_browser_lays_out_without_overflow_or_error(tmp_path):
    found = in_browser(
        tmp_path,
        """
        const box = (node) => node.getBoundingClientRect();
        const dots = [...document.querySelectorAll("#scatter .dot")].map((dot) => [box(dot).left, box(dot).top]);
        const frame = box(document.getElementById("scatter"));
        return { wide: document.documentElement.scrollWidth <= window.innerWidth,
          inside: dots.every(([x, y]) => x >= frame.left && x <= frame.right && y >= frame.top && y <= frame.bottom),
          order: dots.map(([x]) => x), size: [frame.width, frame.height],
          distinct: new Set(dots.map(String)).size };
        """,
    )
    assert found["wide"]
    assert found["inside"]
    assert found["distinct"] == 5
    assert found["size"][0] > 300
    energies = [row[3] for row in ROWS]
    # further right is more energy
    assert sorted(range(5), key=lambda place: found["order"][place]) == sorted(range(5), key=lambda place: energies[place])
