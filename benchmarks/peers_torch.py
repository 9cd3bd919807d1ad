"""The Adam runs of accuracy.py stated again in PyTorch, with nothing of fasim but the file reader.

``python benchmarks/peers_torch.py`` (needs torch and MNIST in ``FASIM_DATA``) adds a line for every rule and seed that has
none to ``benchmarks/results/peers.jsonl``. Weights, feedback and sample orders are its own draws, so that errors agree
as runs of two seeds do, not to the digit.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import torch

from fasim.data import load
from fasim.machine import cpu_model

RESULTS = Path(__file__).parent / "results" / "peers.jsonl"
RATES = {"bp": 1.5e-4, "fa": 5e-4, "dfa": 1.5e-4}
SEEDS = (0, 1, 2)
HIDDEN, CLASSES, BATCH, EPOCHS = 500, 10, 60, 10


def run(rule: str, seed: int) -> list[float]:
    """Train 784-500-10 and return the test error in percent after every epoch."""
    torch.manual_seed(seed)
    data = load("mnist")
    x, labels = torch.tensor(data.x_train) / 256, torch.tensor(data.y_train)
    x_test, labels_test = torch.tensor(data.x_test) / 256, torch.tensor(data.y_test)
    first, second = torch.nn.Linear(784, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    bound = (6 / HIDDEN) ** 0.5
    feedback = torch.empty(CLASSES, HIDDEN).uniform_(-bound, bound)
    optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], RATES[rule])
    errors = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            target = torch.nn.functional.one_hot(labels[batch], CLASSES).float()
            hidden = torch.tanh(first(x[batch]))
            output = torch.sigmoid(second(hidden if rule == "bp" else hidden.detach()))
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy(output, target).backward()
            if rule != "bp":
                error = (output - target).detach()
                # FA transports the gradient at the output (mean over N K), DFA in the authors' code the raw error
                signal = (error / error.numel() if rule == "fa" else error) @ feedback
                hidden.backward(signal)
            optimizer.step()
        with torch.no_grad():
            answers = second(torch.tanh(first(x_test))).argmax(1)
        errors.append(round(100 - 100 * (answers == labels_test).float().mean().item(), 2))
    return errors


def main() -> None:
    """Run what has no line yet."""
    done = [json.loads(text) for text in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    known = {(line["rule"], line["seed"]) for line in done}
    for seed in SEEDS:
        for rule in RATES:
            if (rule, seed) in known:
                continue
            line = {
                "table": "mnist-adam",
                "rule": rule,
                "seed": seed,
                "test_error_percent": run(rule, seed),
                "command": "python benchmarks/peers_torch.py",
                "cpu": cpu_model(),
                "versions": {"torch": version("torch")},
            }
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(rule, seed, line["test_error_percent"])


if __name__ == "__main__":
    main()
