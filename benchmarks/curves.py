"""Draw the curves of ``docs/papers.md``, ``docs/curves/NAME.png``, of every experiment whose runs do not fit into a table.

``python benchmarks/curves.py`` takes the lines of ``benchmarks/results/papers.jsonl``; ``render.py`` puts the pictures
that are there into the page.
"""

from __future__ import annotations

from render_papers import CURVE, CURVES, rows_of

from fasim.experiments import load_experiment, names
from fasim.files import write_whole
from fasim.plots_experiments import experiment_curves


def main() -> None:
    """Draw what has lines with more epochs than a cell of the table holds."""
    CURVES.mkdir(exist_ok=True)
    for name in names():
        rows = [row for row in rows_of(name) if row.epochs > CURVE]
        if rows:
            write_whole(CURVES / f"{name}.png", experiment_curves(load_experiment(name), rows))


if __name__ == "__main__":
    main()
