"""Tables of ``docs/papers.md``, from ``benchmarks/results/papers.jsonl``; ``benchmarks/render.py`` writes them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from result_lines import done
from scipy import stats

RESULTS = Path(__file__).parent / "results" / "papers.jsonl"

Line = dict[str, Any]

# test accuracy in percent after 50 epochs, mean of 10 trials: table 1 of the direct Kolen-Pollack manuscript, CIFAR-10
TABLE_1 = {
    "bp": "70.70 ±.96",
    "kp": "70.08 ±.37",
    "kp, feedback at 1e-2": "-",
    "dkp": "64.69 ±.72",
    "dfa": "62.70 ±.36",
    "fa": "60.45 ±1.13",
    "bp, convolutions frozen": "60.01 ±1.32",
    "drtp": "55.32 ±6.14",
}
# test error in percent after 100 epochs: table 4 of Flam-Shepherd, row DFA
TABLE_4 = {"b1": 2.19, "b2": 2.32, "b3": 2.40, "b4": 2.04, "b5": 2.22, "b6": 2.27, "b7": 2.38}


def by_case(table: str) -> dict[str, dict[int, Line]]:
    """Return the lines of a table by case, then by seed."""
    cases: dict[str, dict[int, Line]] = defaultdict(dict)
    for line in done(RESULTS).values():
        if line["cell"]["table"] == table:
            cases[line["cell"]["case"]][line["cell"]["seed"]] = line
    return cases


def last(case: dict[int, Line], what: str) -> list[float]:
    """Return a figure after the last epoch, by ascending seed."""
    return [case[seed][what][-1] for seed in sorted(case)]


def interval_95(values: list[float]) -> float:
    """Return half the width of the 95 % interval of a mean (Student's t)."""
    return float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5


def _spread(values: list[float], digits: int = 2) -> str:
    text = f"{fmean(values):.{digits}f}"
    return text + (f" ±{stdev(values):.{digits}f}" if len(values) > 1 else "")


def listing_1() -> list[str]:
    """Return train and test accuracy of the listing's runs."""
    rows = [
        "| rule and rate | train accuracy % | test accuracy % | test accuracy by epoch (seed 0) | seeds |",
        "|---|---|---|---|---|",
    ]
    for name, case in by_case("000-L1").items():
        train = [100 - value for value in last(case, "train_error_percent")]
        test = [100 - value for value in last(case, "test_error_percent")]
        epochs = " ".join(f"{100 - value:.1f}" for value in case[min(case)]["test_error_percent"])
        rows.append(f"| {name} | {_spread(train)} | {_spread(test)} | {epochs} | {len(case)} |")
    return rows


def two_convolutions() -> list[str]:
    """Return accuracies on CIFAR-10 beside the published ones, best first."""
    rows = [
        "| rule | test accuracy % by epoch | train accuracy % | published, 50 epochs | seconds an epoch |",
        "|---|---|---|---|---|",
    ]
    cases = by_case("001-T1")
    for name in sorted(cases, key=lambda name: last(cases[name], "test_error_percent")[0]):
        line = next(iter(cases[name].values()))
        epochs = " ".join(f"{100 - value:.1f}" for value in line["test_error_percent"])
        train = f"{100 - line['train_error_percent'][-1]:.1f}"
        rows.append(f"| {name} | {epochs} | {train} | {TABLE_1[name]} | {line['seconds_per_epoch']:.0f} |")
    found = sorted(cases, key=lambda name: last(cases[name], "test_error_percent")[0])
    published = sorted((name for name in TABLE_1 if TABLE_1[name] != "-"), key=lambda name: TABLE_1[name], reverse=True)
    return [*rows, "", f"Order after the last epoch: {' > '.join(found)}. Published: {' > '.join(published)}."]


def auto_encoders() -> list[str]:
    """Return the test error of the auto-encoders and that of the mean image."""
    rows = ["| rule | test MSE after 10 epochs | of the mean image's | seeds |", "|---|---|---|---|"]
    mean_image = 0.0
    for rule, case in by_case("003-E3").items():
        losses = last(case, "test_loss")
        mean_image = next(iter(case.values()))["test_loss_of_mean_image"]
        rows.append(f"| {rule} | {_spread(losses, 5)} | {100 * fmean(losses) / mean_image:.0f} % | {len(case)} |")
    return [*rows, f"| (mean image) | {mean_image:.5f} | 100 % | - |"]


def families() -> list[str]:
    """Return the test error of DFA with each feedback family, with 95 % intervals."""
    rows = ["| feedback | test error %, 95 % interval | published, 100 epochs | seeds |", "|---|---|---|---|"]
    for name, case in sorted(by_case("003-E4").items()):
        errors = last(case, "test_error_percent")
        half = f" ±{interval_95(errors):.2f}" if len(errors) > 1 else ""
        rows.append(f"| {name} | {fmean(errors):.2f}{half} | {TABLE_4[name]:.2f} | {len(errors)} |")
    return rows


def machine() -> list[str]:
    """Return what the lines were measured on."""
    found = list(done(RESULTS).values())
    cpus = sorted({line["cpu"] for line in found})
    versions = sorted({", ".join(f"{name} {text}" for name, text in line["versions"].items()) for line in found})
    commits = ", ".join(sorted({line["commit"] for line in found}))
    return [f"CPU {'; '.join(cpus)}, one thread a run; {'; '.join(versions)}; commits {commits}."]


SECTIONS = {
    "machine": machine,
    "listing-1": listing_1,
    "two-convolutions": two_convolutions,
    "auto-encoders": auto_encoders,
    "families": families,
}
