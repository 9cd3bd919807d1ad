"""An experiment on digits that takes a second, as a file of a user's own."""

from __future__ import annotations

SMALL = """
title = "small"
paper = "none"
[settings]
data = ["digits", "inferred: small"]
standardise = ["unit", "inferred: small"]
hidden = ["tanh", "inferred: small"]
output = ["sigmoid", "inferred: small"]
init = ["torch", "inferred: small"]
feedback = ["uniform", "inferred: small"]
loss = ["bce", "inferred: small"]
reduction = ["sum", "inferred: small"]
batch_size = [32, "inferred: small"]
optimizer = ["sgd", "inferred: small"]
epochs = [2, "inferred: small"]
seeds = [2, "inferred: small"]
[rows.thin]
net = ["64-8-10", "paper"]
[rows.wide]
net = ["64-16-10", "paper"]
[columns.bp]
rule = ["bp", "paper"]
[columns.dfa]
rule = ["dfa", "paper"]
[cells.learning_rate]
source = "paper: table 1"
thin = [0.01, 0.02]
wide = [0.03, 0.04]
[published.test_error]
source = "paper: table 2"
thin = ["10.5 ±.5", "12"]
wide = ["figure only", "not given"]
[variants.fast]
title = "twice the rate"
cases = ["thin *"]
settings.learning_rate = [0.08, "original code"]
"""
