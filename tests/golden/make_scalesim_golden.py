"""Write what SCALE-Sim 3.0.0 simulates for matrix products: cycles and accesses to its on-chip memories.

Run ``python tests/golden/make_scalesim_golden.py`` with ``scalesim==3.0.0`` and ``numpy<2.4`` installed (nothing of fasim
is needed; about four minutes): it writes ``scalesim.json`` beside this file.
``python make_scalesim_golden.py OUT.json TOPOLOGY.csv`` simulates a topology of M, N, K rows on the first array instead.
"""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import json
import platform
import sys
import tempfile
from pathlib import Path

from scalesim.scale_sim import scalesim

HERE = Path(__file__).resolve().parent
# rows, columns
ARRAYS = ((16, 16), (8, 12))
DATAFLOWS = ("ws", "os", "is")
# name: M, N, K; of 784-500-10 at batch sizes 1 and 64, of a convolution, and edges
SHAPES = {
    "forward.1 b1": (1, 500, 784),
    "forward.2 b1": (1, 10, 500),
    "error.1 b1": (1, 500, 10),
    "input error b1": (1, 784, 500),
    "gradient.1 b1": (784, 500, 1),
    "gradient.2 b1": (500, 10, 1),
    "forward.1 b64": (64, 500, 784),
    "forward.2 b64": (64, 10, 500),
    "feedback.1 b64": (64, 500, 10),
    "input error b64": (64, 784, 500),
    "gradient.1 b64": (784, 500, 64),
    "gradient.2 b64": (500, 10, 64),
    "conv 28x28x1-32c5p2 b1": (784, 32, 25),
    "conv gradient 28x28x1-32c5p2 b1": (25, 32, 784),
    "conv error 14x14x8-16c3 b2": (392, 72, 16),
    "one": (1, 1, 1),
    "array": (16, 16, 16),
    "array and one": (17, 17, 17),
    "odd": (33, 49, 31),
}
# the second array runs small shapes alone
LARGEST_ON_SECOND = 400_000

CONFIG = """\
[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 64
FilterSramSzkB = 512
OfmapSramSzkB = 64
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Bandwidth = 10
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = False
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def simulate(topology: str, rows: int, columns: int, dataflow: str) -> list[dict[str, object]]:
    """Return one row for each product of a topology in SCALE-Sim's GEMM form."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "run.cfg").write_text(CONFIG.format(rows=rows, columns=columns, dataflow=dataflow))
        (here / "gemms.csv").write_text(topology)
        (here / "layout.csv").write_text("")
        paths = {key: str(here / name) for key, name in (("config", "run.cfg"), ("topology", "gemms.csv"))}
        run = scalesim(save_disk_space=True, verbose=False, layout=str(here / "layout.csv"), input_type_gemm=True, **paths)
        run.run_scale(top_path=folder)
        cycles, accesses = (
            list(csv.reader((here / "run" / f"{name}_REPORT.csv").open())) for name in ("COMPUTE", "DETAILED_ACCESS")
        )
    products = [line.split(",")[:4] for line in topology.splitlines()[1:]]
    assert len(products) == len(cycles) - 1 == len(accesses) - 1
    result = []
    for (name, *shape), cycle, access in zip(products, cycles[1:], accesses[1:], strict=True):
        row: dict[str, object] = {"name": name, **dict(zip("mnk", map(int, shape), strict=True))}
        row |= {"rows": rows, "columns": columns, "dataflow": dataflow}
        for key, table, title in (
            ("cycles", (cycles[0], cycle), "Total Cycles"),
            ("stall_cycles", (cycles[0], cycle), "Stall Cycles"),
            ("reads_a", (accesses[0], access), "SRAM IFMAP Reads"),
            ("reads_w", (accesses[0], access), "SRAM Filter Reads"),
            ("writes_o", (accesses[0], access), "SRAM OFMAP Writes"),
        ):
            titles = [text.strip() for text in table[0]]
            number = float(table[1][titles.index(title)])
            assert number == int(number)
            row[key] = int(number)
        result.append(row)
    return result


def main() -> None:
    """Write the golden file, or the rows of a given topology."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "scalesim.json"
    arrays = ARRAYS
    if len(sys.argv) > 2:
        arrays = ARRAYS[:1]
        topologies = [Path(sys.argv[2]).read_text()]
    else:
        every = {name: f"{name},{m},{n},{k}," for name, (m, n, k) in SHAPES.items()}
        small = [every[name] for name, (m, n, k) in SHAPES.items() if m * n * k <= LARGEST_ON_SECOND]
        topologies = ["\n".join(["Layer,M,N,K,", *rows, ""]) for rows in (every.values(), small)]
    record = {
        "oracle": "SCALE-Sim, cycles without stalls and accesses to its on-chip memories in elements",
        "command": "python tests/golden/make_scalesim_golden.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "scalesim": importlib.metadata.version("scalesim"),
        "numpy": importlib.metadata.version("numpy"),
        "python": platform.python_version(),
    }
    rows = [
        row
        for array, topology in zip(arrays, topologies, strict=True)
        for dataflow in DATAFLOWS
        for row in simulate(topology, *array, dataflow)
    ]
    lines = ",\n".join("    " + json.dumps(row) for row in rows)
    head = json.dumps(record, indent=2).removesuffix("\n}")
    out.write_text(f'{head},\n  "runs": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
