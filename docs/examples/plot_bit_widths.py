"""
Accuracy over the width of the weights
======================================

One datapath after another, made of ``s8`` by changing a width: how few bits does a rule need?
"""

import matplotlib.pyplot as plt

from fasim import Network, train
from fasim.calibration import calibrate
from fasim.data import load

network, data = Network.parse("64-32-10"), load("digits")
widths, accuracies = (4, 5, 6, 8), {}
for rule in ("bp", "dfa"):
    for bits in widths:
        own = calibrate(network, data, rule=rule, like="s8", bits=bits, name=f"own{bits}", epochs=10)
        run = train(network, data, rule=rule, datapath=own.datapath, epochs=10)
        accuracies[rule, bits] = run.test_accuracy
        print(f"{rule} {bits} bits: {100 * accuracies[rule, bits]:.1f} %")

# %%
# One seed and ten epochs are an example, not a result: `fasim.compare` takes several.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for rule, colour in (("bp", "#000000"), ("dfa", "#0072B2")):
    axes.plot(widths, [100 * accuracies[rule, bits] for bits in widths], "o-", color=colour, label=rule)
axes.set_xticks(widths)
axes.set_xlabel("bits of the weights and of what moves")
axes.set_ylabel("test accuracy (%)")
axes.legend()
plt.show()
