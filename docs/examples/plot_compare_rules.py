"""
Accuracy beside energy
======================

Three rules on two datapaths, over two seeds: what a training sample costs, and what it brings.
"""

import matplotlib.pyplot as plt

from fasim import compare

comparison = compare(
    "digits", "64-32-16-10", rules=["bp", "dfa", "drtp"], datapaths=["float32", "s8"], epochs=10, seeds=[0, 1]
)
for row in comparison.as_dict()["rows"]:
    energy = row["energy_pj_per_sample"]["typical"] / 1e3
    print(f"{row['rule']:5} {row['datapath']:8} {100 * row['test_accuracy_mean']:5.1f} % {energy:6.1f} nJ per sample")

# %%
# The points of a rule lie above each other where fixed point keeps its accuracy, and to the left where it saves energy.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
colours = {"bp": "#000000", "dfa": "#0072B2", "drtp": "#D55E00"}
markers = {"float32": "o", "s8": "s"}
for row in comparison.as_dict()["rows"]:
    axes.plot(
        row["energy_pj_per_sample"]["typical"] / 1e3,
        100 * row["test_accuracy_mean"],
        markers[row["datapath"]],
        color=colours[row["rule"]],
        label=f"{row['rule']} {row['datapath']}",
    )
axes.set_xlabel("energy per training sample (nJ)")
axes.set_ylabel("test accuracy (%)")
axes.legend()
plt.show()
