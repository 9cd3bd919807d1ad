"""Tables of ``docs/performance.md``, from the lines of throughput.py, gemms.py, convs.py, peers.py and peak_memory.py.

Each machine that has lines gets its own tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import render_fixed
import render_gpu
from cases import BATCHES, FASTEST, NETS, RULES, THREADS, cells
from cases import FORMATS as GRID
from goals import Goal, Line, kernel_goals, step_goals

from fasim import Network, StepSettings, estimate

RESULTS = Path(__file__).parent / "results"
NONE = ["Not measured yet: `make bench`."]
FORMATS = ("float32", "s16", "s8", "s8_stoch")
Machine = tuple[str, str]


def lines(name: str, identity: Callable[[Line], Any]) -> list[Line]:
    """Return the lines of a file; of those with one identity on one machine the last."""
    path = RESULTS / f"{name}.jsonl"
    found = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    return list({json.dumps([line["cpu"], identity(line)], sort_keys=True): line for line in found}.values())


def steps() -> list[Line]:
    """Return the lines of whole training steps."""
    return lines("throughput", lambda line: line["cell"])


def machine_of(line: Line) -> Machine:
    """Return CPU and target of the kernels."""
    return line["cpu"], line.get("target", "")


def by_machine(found: Iterable[Line], table: Callable[[list[Line]], list[str]]) -> list[str]:
    """Return a table for each machine, with its name above where there are several."""
    groups: dict[Machine, list[Line]] = {}
    for line in found:
        groups.setdefault(machine_of(line), []).append(line)
    result: list[str] = []
    for machine, group in groups.items():
        rows = table(group)
        if rows and len(groups) > 1:
            result += ["", f"{machine[0]}, {machine[1]}:", ""]
        result += rows
    return result or NONE


def machine_list() -> list[str]:
    """Return what was measured on."""

    def described(group: list[Line]) -> list[str]:
        line, several = group[-1], ("commit", "versions", "torch", "blas", "variables", "cores", "vectors")
        commit, versions, torch, blas, variables, cores, vectors = (line[name] for name in several)
        commits = sorted({other["commit"] for other in group})
        rounds, turns = (
            " or ".join(f"{one:g}" for one in sorted({other[name] for other in group})) for name in ("rounds", "turn_s")
        )
        return [
            f"- {line['cpu']}, {cores} cores, {', '.join(vectors)}; kernels for {line['target']}",
            f"- PyTorch {', '.join(torch) if torch else 'absent'}; BLAS of NumPy and SciPy: {'; '.join(blas)}",
            f"- {', '.join(f'{name} {text}' for name, text in versions.items())}; "
            f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}",
            f"- {rounds} rounds, turns of {turns} s; "
            f"variables: {', '.join(f'{name}={value}' for name, value in variables.items()) or 'none'}",
        ]

    return by_machine(steps(), described)


def grid_note() -> list[str]:
    """Return how much of the grid has lines."""
    wanted = {(c.net, c.batch, c.rule, c.format, c.threads) for c in cells(NETS, BATCHES, RULES, GRID, THREADS, FASTEST)}

    def counted(group: list[Line]) -> list[str]:
        names = ("net", "batch", "rule", "format", "threads")
        found = {tuple(line["cell"][name] for name in names) for line in group} & wanted
        return [f"{len(found):,} of the {len(wanted):,} cells of the grid are measured; a dash is one that is not."]

    return by_machine(steps(), counted)


def goal_table() -> list[str]:
    """Return the goals beside what was reached, lowest and highest."""
    gemms = lines("gemms", lambda line: [line["type"], line["shape"]])
    convs = lines("convs", lambda line: [line["layer"], line["what"]])
    peers = lines("peers_fixed", lambda line: [line["bits"], line["shape"]])

    def table(group: list[Line]) -> list[str]:
        cpu = group[0]["cpu"]
        here = ([line for line in found if line["cpu"] == cpu] for found in (gemms, convs, peers))
        rows = ["| what | batch | goal | reached | |", "|---|---|---|---|---|"]
        return rows + [goal_row(goal) for goal in [*step_goals(group), *kernel_goals(*here)]]

    return by_machine(steps(), table)


def goal_row(goal: Goal) -> str:
    """Return a goal, what was reached on the worst and the best case, and whether the worst is enough."""
    times = "" if goal.unit.startswith("%") else "x "
    reached, verdict = "not measured", ""
    if goal.values:
        low, high = (pick(goal.values, key=goal.values.__getitem__) for pick in (min, max))
        reached = f"{_number(goal.values[low])} ({low})"
        if len(goal.values) > 1:
            reached += f" .. {_number(goal.values[high])} ({high})"
        verdict = "met" if goal.met else "**not met**"
    return f"| {goal.what} | {goal.batch} | {_number(goal.least)} {times}{goal.unit} | {reached} | {verdict} |"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}".rstrip("0").rstrip(".")


def format_table(name: str) -> list[str]:
    """Return the steps of a format on one thread: a row a network and batch size, a column a rule."""

    def table(group: list[Line]) -> list[str]:
        found = [line for line in group if line["cell"]["format"] == name and line["cell"]["threads"] == 1]
        return _grid(found, step_text, _accuracies(found))

    return by_machine(steps(), table)


def threads_table(name: str) -> list[str]:
    """Return the steps of a format on two threads."""

    def table(group: list[Line]) -> list[str]:
        return _grid([one for one in group if one["cell"]["format"] == name and one["cell"]["threads"] == 2], thread_text)

    return by_machine(steps(), table)


def _grid(found: list[Line], text: Callable[[Line], str], first: dict[str, str] | None = None) -> list[str]:
    cells: dict[tuple[str, int], dict[str, str]] = {}
    for line in found:
        cell = line["cell"]
        cells.setdefault((cell["net"], cell["batch"]), {})[cell["rule"]] = text(line)
    if not cells:
        return []
    rules = list(dict.fromkeys(line["cell"]["rule"] for line in found))
    rows = ["| network | batch | " + " | ".join(rules) + " |", "|---" * (len(rules) + 2) + "|"]
    if first:
        rows.append("| MNIST test error % (float32) | | " + " | ".join(first.get(rule, "-") for rule in rules) + " |")
    nets = list(dict.fromkeys(net for net, _ in cells))
    for net, batch in sorted(cells, key=lambda place: (nets.index(place[0]), place[1])):
        by_rule = cells[net, batch]
        rows.append(f"| {net} | {batch} | " + " | ".join(by_rule.get(rule, "-") for rule in rules) + " |")
    return rows


def _accuracies(found: list[Line]) -> dict[str, str]:
    known = {line["cell"]["rule"]: line["accuracy"] for line in found if line.get("accuracy")}
    return {r: f"{a['test_error_percent']:.2f} ({a['float32_test_error_percent']:.2f})" for r, a in known.items()}


def step_text(line: Line) -> str:
    """Return samples a second, the ratios, and the share of the ceiling: p of the peak, m of the memory."""
    ratios = [f"{line['times_faster_than'][name]:.2f} {name}" for name in ("M", "E") if name in line["times_faster_than"]]
    if "float32" in line["times_faster_than"]:
        ratios.append(f"{line['times_faster_than']['float32']:.2f} f")
    return ", ".join([f"{line['samples_per_s']['fasim'][0]:,}", *ratios, _share_text(line)])


def _share_text(line: Line) -> str:
    ceiling = line["ceiling"]
    return f"{100 * ceiling['share']:.0f} % {'p' if 'peak' in ceiling['name'] else 'm'}"


def thread_text(line: Line) -> str:
    """Return samples a second, how many times as many as on one thread, as M and E on two, and the share of the ceiling.

    A line that does not say on how many threads its ceilings were measured shows none: each call of their loops was handed
    to a pool of threads then, so that they came out too low and shares too high, beyond 100 %.
    """
    ratios = line["times_faster_than"]
    shown = [f"{ratios['one_thread']:.2f} own", *(f"{ratios[name]:.2f} {name}" for name in ("M", "E") if name in ratios)]
    shares = [_share_text(line)] if "threads" in line["ceiling"] else []
    return ", ".join([f"{line['samples_per_s']['fasim'][0]:,}", *shown, *shares])


def peer_table() -> list[str]:
    """Return M and E themselves: samples a second, and what M makes of the CPU."""

    def table(group: list[Line]) -> list[str]:
        found = [x for x in group if x["cell"]["format"] == "float32" and x["cell"]["threads"] == 1]
        return _grid([line for line in found if "M" in line["samples_per_s"]], peer_text)

    return by_machine(steps(), table)


def peer_text(line: Line) -> str:
    """Return M with its GFLOP/s, and E."""
    rates, operations = line["samples_per_s"], line["giga_operations_per_s"]
    compiled = line.get("compiled_E", {}).get("times_eager")
    note = f"; compiled {compiled:.2f} E" if compiled else ""
    return f"M {rates['M'][0]:,} ({operations['M']:.0f} GFLOP/s), E {rates['E'][0]:,}{note}"


def gemm_table() -> list[str]:
    """Return products of matrices: rates, ratios and shares of the peak."""

    def table(group: list[Line]) -> list[str]:
        names = list(dict.fromkeys(name for line in group for name in line["giga_operations_per_s"]))
        rows = ["| type | N x I x J | " + " | ".join(names) + " | share of the peak |", "|---" * (len(names) + 3) + "|"]
        for line in group:
            rates = " | ".join(f"{line['giga_operations_per_s'].get(name, '-')}" for name in names)
            share = "-" if line["share_of_peak"] is None else f"{100 * line['share_of_peak']:.0f} %"
            rows.append(f"| {line['type']} | {' x '.join(map(str, line['shape']))} | {rates} | {share} |")
        return rows

    return by_machine(lines("gemms", lambda line: [line["type"], line["shape"]]), table)


def conv_table() -> list[str]:
    """Return convolutions beside PyTorch's in both layouts."""

    def table(group: list[Line]) -> list[str]:
        names = list(dict.fromkeys(name for line in group for name in line["giga_operations_per_s"]))
        rows = ["| layer | what | " + " | ".join(names) + " | x the better layout |", "|---" * (len(names) + 3) + "|"]
        for line in group:
            rates = " | ".join(f"{line['giga_operations_per_s'].get(name, '-')}" for name in names)
            rows.append(f"| {line['layer']} | {line['what']} | {rates} | {min(line['times_faster_than'].values()):.2f} |")
        return rows

    return by_machine(lines("convs", lambda line: [line["layer"], line["what"]]), table)


def memory_table() -> list[str]:
    """Return what training holds beside the data."""

    def table(group: list[Line]) -> list[str]:
        rows = [
            "| network | format | alive at once | state and buffers | peak beside the data | more in a longer run |",
            "|---|---|---|---|---|---|",
        ]
        for line in group:
            settings = StepSettings(line["batch"])
            alive = estimate(Network.parse(line["net"]), line["rule"], line["format"], settings=settings).peak_live_bytes
            sizes = " | ".join(f"{line[f'{name}_mb']:.1f} MB" for name in ("held", "beside_data", "growth"))
            rows.append(f"| {line['net']} | {line['format']} | {alive / 1e6:.1f} MB | {sizes} |")
        return rows

    return by_machine(lines("memory", lambda line: [line["net"], line["format"]]), table)


def start_table() -> list[str]:
    """Return how long new processes take to start."""

    def table(group: list[Line]) -> list[str]:
        rows = ["| start | median | best | at most |", "|---|---|---|---|"]
        for line in group:
            most = f"{line['at_most_s']:g} s" if line["at_most_s"] else "-"
            rows.append(f"| {line['kind']} | {line['median_s']:.2f} s | {line['best_s']:.2f} s | {most} |")
        return rows

    return by_machine(lines("start_up", lambda line: line["kind"]), table)


SECTIONS: dict[str, Callable[[], list[str]]] = {
    "machine": machine_list,
    "grid": grid_note,
    "goals": goal_table,
    **{f"steps-{name}": (lambda name=name: format_table(name)) for name in FORMATS},  # type: ignore[misc]
    **{f"threads-{name}": (lambda name=name: threads_table(name)) for name in FORMATS[:3]},  # type: ignore[misc]
    "torch": peer_table,
    "gemms": gemm_table,
    "convs": conv_table,
    "peers": render_fixed.peers_table,
    "memory": memory_table,
    "start": start_table,
    "gpu": render_gpu.gpu_tables,
}
