"""Write what PyTorch counts of backpropagation: floating-point operations, and what autograd keeps for the way back.

Run ``python tests/golden/make_torch_counts.py`` with torch installed; it writes ``torch_counts.json`` beside this file. The
numbers do not depend on the values of weights and data. The nets are those of the DRTP authors (tanh, sigmoid, maximum
pooling) and variants without padding.

FlopCounterMode counts 2 for each multiply-accumulate of a matrix product or convolution, nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

HERE = Path(__file__).resolve().parent
FLOP_NETS = (
    "784-500-10",
    "784-1000-1000-10",
    "28x28x1-32c5-2p-1000-10",
    "28x28x1-32c5p0-2p-1000-10",
    "16x16x2-4c3s2-6c3p0-2p-12-5",
    "32x32x3-64c3-2p-256c3-2p-1000-1000-10",
)
KEPT_NETS = ("784-500-10", "784-1000-1000-10", "9-8-7-6-5", "28x28x1-32c5-2p-1000-10", "16x16x2-4c3s2-6c3p0-2p-12-5")
BATCHES = (1, 64)
TOKEN = re.compile(r"(\d+)c(\d+)(?:s(\d+))?(?:p(\d+))?")


def build(net: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return the module of a topology and the shape of one input, (C, H, W) or (I,)."""
    first, *tokens = net.split("-")
    sizes = [int(size) for size in first.split("x")]
    shape = (sizes[2], sizes[0], sizes[1]) if len(sizes) == 3 else (sizes[0],)
    modules: list[nn.Module] = []
    here = torch.zeros(1, *shape, device="meta")

    def add(module: nn.Module) -> None:
        nonlocal here
        modules.append(module)
        here = module.to("meta")(here)

    for place, token in enumerate(tokens):
        conv = TOKEN.fullmatch(token)
        if token.endswith("p"):
            add(nn.MaxPool2d(int(token[:-1])))
            continue
        if conv:
            kernel = int(conv[2])
            padding = (kernel - 1) // 2 if conv[4] is None else int(conv[4])
            add(nn.Conv2d(here.shape[1], int(conv[1]), kernel, int(conv[3] or 1), padding))
        else:
            if here.dim() > 2:
                add(nn.Flatten())
            add(nn.Linear(here.shape[1], int(token)))
        add(nn.Sigmoid() if place == len(tokens) - 1 else nn.Tanh())
    return nn.Sequential(*modules).to_empty(device="cpu"), shape


def inputs(net: str, batch: int, *, requires_grad: bool = False) -> tuple[nn.Sequential, torch.Tensor]:
    """Return the module with small weights, and a batch for it."""
    module, shape = build(net)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.01)
    return module, torch.full((batch, *shape), 0.5, requires_grad=requires_grad)


def flops(net: str, batch: int) -> dict[str, int | str]:
    """Return the operations of forward pass, whole step, and whole step down to the inputs."""
    row: dict[str, int | str] = {"network": net, "batch_size": batch}
    for name, requires_grad in (("step", False), ("step_to_inputs", True)):
        module, x = inputs(net, batch, requires_grad=requires_grad)
        with FlopCounterMode(display=False) as counter:
            output = module(x)
            row["forward"] = counter.get_total_flops()
            output.sum().backward()
        row[name] = counter.get_total_flops()
    return row


def kept(net: str, batch: int) -> dict[str, int | str]:
    """Return the elements that autograd keeps: storages once, parameters not, places of maxima apart.

    A layer's output that nothing but its own slope needs (`output`, K for each sample) is told apart from the rest.
    """
    module, x = inputs(net, batch)
    parameters = {parameter.data_ptr() for parameter in module.parameters()}
    found: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            found[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(x)
    return {"network": net, "batch_size": batch, **dict(_sizes(found, output))}


def _sizes(found: dict[int, torch.Tensor], output: torch.Tensor) -> Iterator[tuple[str, int]]:
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in found.values()}
    places = [t for t in storages.values() if not t.is_floating_point()]
    own = [t for t in storages.values() if t.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()]
    total = sum(tensor.numel() for tensor in storages.values())
    yield "places", sum(tensor.numel() for tensor in places)
    yield "output", sum(tensor.numel() for tensor in own)
    yield "act", total - sum(tensor.numel() for tensor in (*places, *own))


def measured() -> dict[str, list[dict[str, int | str]]]:
    """Return all rows of the golden file."""
    return {
        "flops": [flops(net, batch) for net in FLOP_NETS for batch in BATCHES],
        "kept": [kept(net, batch) for net in KEPT_NETS for batch in BATCHES],
    }


def main() -> None:
    """Write the golden file."""
    about = f"torch {torch.__version__.partition('+')[0]} (CPU), by make_torch_counts.py"
    rows = {
        name: "[\n    " + ",\n    ".join(json.dumps(row) for row in each) + "\n  ]" for name, each in measured().items()
    }
    body = ",\n".join([f'  "source": {json.dumps(about)}', *(f'  "{name}": {text}' for name, text in rows.items())])
    (HERE / "torch_counts.json").write_text("{\n" + body + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
