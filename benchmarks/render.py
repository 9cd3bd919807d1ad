"""Write the tables of the README and of pages in ``docs`` from results, between markers; none is typed by hand.

``python benchmarks/render.py`` rewrites the pages; ``--check`` only says whether they are up to date (a test does);
``--demo FOLDER`` first takes over the run folder of a ``make demo`` as the one that the pages show.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import render_fixed
import render_front
import render_papers
import render_performance

HERE = Path(__file__).parent
LINES = HERE / "results" / "accuracy.jsonl"
PEERS = HERE / "results" / "peers.jsonl"
DEMO = HERE / "results" / "demo.json"
ROOT = HERE.parent
CONTROL = "s8_without_master"

Line = dict[str, Any]


def lines() -> list[Line]:
    """Return the result lines, one a cell and seed."""
    found = [json.loads(text) for text in LINES.read_text().splitlines()]
    return list({json.dumps(line["cell"], sort_keys=True): line for line in found}.values())


def by_rule_and_datapath(table: str) -> dict[tuple[str, str], dict[int, Line]]:
    """Return the lines of a table by rule and datapath, then by seed."""
    cells: dict[tuple[str, str], dict[int, Line]] = defaultdict(dict)
    for line in lines():
        cell = line["cell"]
        if cell["table"] == table:
            cells[cell["rule"], cell["datapath"]][cell["seed"]] = line
    return cells


def final_errors(cell: dict[int, Line]) -> dict[int, float]:
    """Return the test error in percent after the last epoch, by seed."""
    return {seed: line["test_error_percent"][-1] for seed, line in sorted(cell.items())}


def paired_difference(cell: dict[int, Line], other: dict[int, Line]) -> float:
    """Return the mean difference of test errors (points) over the seeds that both have."""
    first, second = final_errors(cell), final_errors(other)
    return fmean(first[seed] - second[seed] for seed in first.keys() & second.keys())


def _mean(errors: dict[int, float]) -> str:
    values = list(errors.values())
    return f"{fmean(values):.2f}" + (f" ±{stdev(values):.2f}" if len(values) > 1 else "")


def torch_errors() -> dict[str, dict[int, float]]:
    """Return the final test errors of the PyTorch runs, by rule and seed."""
    errors: dict[str, dict[int, float]] = defaultdict(dict)
    for text in PEERS.read_text().splitlines():
        line = json.loads(text)
        errors[line["rule"]][line["seed"]] = line["test_error_percent"][-1]
    return errors


def adam_table() -> list[str]:
    """Return the table of the float32 runs with the published learning rates."""
    peers = torch_errors()
    rows = ["| rule | learning rate | test error % | the same in PyTorch | seeds |", "|---|---|---|---|---|"]
    for (rule, _), cell in sorted(by_rule_and_datapath("mnist-adam").items(), key=_place):
        errors = final_errors(cell)
        rate = next(iter(cell.values()))["cell"]["learning_rate"]
        peer = _mean(peers[rule]) if rule in peers else "-"
        rows.append(f"| {rule} | {rate:g} | {_mean(errors)} | {peer} | {len(errors)} |")
    return rows


def fixed_table(table: str) -> list[str]:
    """Return the table of one network in float32 and fixed point."""
    cells = by_rule_and_datapath(table)
    rows = [
        "| rule | datapath | test error % | minus float32, paired (points) | saturated casts | wraps | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for (rule, datapath), cell in sorted(cells.items(), key=_place):
        errors = final_errors(cell)
        runs = list(cell.values())
        share, wraps, difference = "-", "-", "-"
        if datapath != "float32":
            saturations = fmean(run["saturations"] for run in runs)
            share = f"{saturations:,.0f} ({100 * saturations / runs[0]['casts']:.2g} %)"
            wraps = str(sum(run["wraps"] for run in runs))
            if (rule, "float32") in cells:
                difference = f"{paired_difference(cell, cells[rule, 'float32']):+.2f}"
        rows.append(f"| {rule} | {datapath} | {_mean(errors)} | {difference} | {share} | {wraps} | {len(errors)} |")
    return rows


def control_lines() -> list[str]:
    """Return what the control costs at the end and how it stands after its first epoch."""
    lines_ = []
    for table, net in (("mnist-fixed-1", "784-500-10"), ("mnist-fixed-2", "784-500-500-10")):
        cells = by_rule_and_datapath(table)
        for rule in ("bp", "dfa"):
            control, exact = cells[rule, CONTROL], cells[rule, "float32"]
            first = [line["test_error_percent"][0] for line in control.values()]
            lines_.append(
                f"- {net}, {rule} without a master: {paired_difference(control, exact):+.1f} points after the last epoch; "
                f"{min(first):.1f} to {max(first):.1f} % test error after the first."
            )
    return lines_


def _place(item: tuple[tuple[str, str], Any]) -> tuple[int, int]:
    rule, datapath = item[0]
    rules = ("bp", "fa", "dfa", "sdfa", "drtp")
    return rules.index(rule), ("float32", "s16", "s8", CONTROL).index(datapath)


def machine_line() -> list[str]:
    """Return what the lines were measured on."""
    found = lines()
    if not found:
        return ["No lines yet."]
    cpus = sorted({line["cpu"] for line in found})
    versions = sorted({", ".join(f"{name} {text}" for name, text in line["versions"].items()) for line in found})
    threads = sorted({line["threads"] for line in found})
    return [f"CPU {'; '.join(cpus)}, {threads[0]} thread a run; {'; '.join(versions)}."]


def demo_rows() -> list[dict[str, Any]]:
    """Return the rows of the demo's comparison."""
    return json.loads(DEMO.read_text())["rows"]


def demo_short() -> list[str]:
    """Return accuracy and energy of the demo, a row a rule."""
    rows = demo_rows()
    datapaths = list(dict.fromkeys(row["datapath"] for row in rows))
    cells = {(row["rule"], row["datapath"]): row for row in rows}
    table = ["| rule | " + " | ".join(f"{name}: accuracy %, energy" for name in datapaths) + " |"]
    table.append("|---" * (len(datapaths) + 1) + "|")
    for rule in dict.fromkeys(row["rule"] for row in rows):
        line = [f"{_accuracy(cells[rule, name])}, {_energy(cells[rule, name])}" for name in datapaths]
        table.append(f"| {rule} | " + " | ".join(line) + " |")
    return table


def demo_full() -> list[str]:
    """Return every column of the demo that its table in the terminal shows."""
    content = json.loads(DEMO.read_text())
    table = [
        "| rule | datapath | test accuracy % | energy/sample | ratio to bp (low .. high) | act memory (bytes) "
        "| memory (bytes) | feedback (bytes) | saturated % | wraps |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        ratio = row["energy_ratio_to_bp"]
        table.append(
            f"| {row['rule']} | {row['datapath']} | {_accuracy(row)} | {_energy(row)} | {ratio['typical']:.2f} "
            f"({ratio['low']:.2f} .. {ratio['high']:.2f}) | {row['peak_activation_bytes']:,.0f} "
            f"| {row['peak_live_bytes']:,.0f} | {row['feedback_bytes']:,.0f} | {100 * row['saturation_fraction']:.2g} "
            f"| {row['wraps']:.0f} |"
        )
    seeds = ", ".join(map(str, content["rows"][0]["seeds"]))
    net = f"{content['net']}, {content['hidden']}/{content['output']}"
    table.append("")
    table.append(
        f"{content['data']}, {net}, {content['epochs']} epochs, batch {content['settings']['batch_size']}, "
        f"{content['settings']['optimizer']}, seeds {seeds}, energy on {content['processor']}."
    )
    return table


def _accuracy(row: dict[str, Any]) -> str:
    return f"{100 * row['test_accuracy_mean']:.1f} ±{100 * row['test_accuracy_std']:.1f}"


def _energy(row: dict[str, Any]) -> str:
    return f"{row['energy_pj_per_sample']['typical'] / 1e3:.0f} nJ"


def adopt(folder: Path) -> None:
    """Take over the results and the picture of a run folder, without what differs from machine to machine."""
    content = json.loads((folder / "summary.json").read_text())
    for row in content["rows"]:
        del row["train_samples_per_s"]
    del content["run_folder"], content["runs"]
    DEMO.write_text(json.dumps(content, indent=1) + "\n")
    shutil.copyfile(folder / "accuracy_energy.png", ROOT / "docs" / "accuracy_energy.png")


PAGES: dict[Path, dict[str, Callable[[], list[str]]]] = {
    ROOT / "docs" / "papers.md": render_papers.SECTIONS,
    ROOT / "docs" / "fixed-point-results.md": render_fixed.SECTIONS,
    ROOT / "docs" / "front.md": render_front.SECTIONS,
    ROOT / "docs" / "performance.md": render_performance.SECTIONS,
    ROOT / "README.md": {"demo": demo_short, "front": lambda: render_front.headline("mnist")},
    ROOT / "docs" / "results.md": {
        "demo": demo_full,
        "machine": machine_line,
        "adam": adam_table,
        "control": control_lines,
        "fixed-1": lambda: fixed_table("mnist-fixed-1"),
        "fixed-2": lambda: fixed_table("mnist-fixed-2"),
    },
}


TIMES = ROOT / "fasim" / "experiments" / "times.json"


def render(page: Path) -> str:
    """Return a page with every section between its markers written anew."""
    if page == TIMES:
        return render_papers.times()
    text = page.read_text()
    for name, section in PAGES[page].items():
        body = "\n".join([f"<!-- {name} -->", "", *section(), "", "<!-- end -->"])
        text, count = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _, body=body: body, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{page.name}: marker {name} must stand once, found {count}")
    return text


def main() -> None:
    """Rewrite the pages, or check them."""
    if "--demo" in sys.argv:
        adopt(Path(sys.argv[sys.argv.index("--demo") + 1]))
    for page in (*PAGES, TIMES):
        new = render(page)
        if "--check" not in sys.argv:
            page.write_text(new)
        elif not page.exists() or new != page.read_text():
            raise SystemExit(f"{page.name} is not what the results say: run python benchmarks/render.py")


if __name__ == "__main__":
    main()
