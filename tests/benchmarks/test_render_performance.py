"""Tables and goals from made-up lines; that the committed page is what its lines say is a test of all pages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import goals  # noqa: E402 - scripts, not a package
import render  # noqa: E402
import render_gpu  # noqa: E402
import render_performance  # noqa: E402

FOUR_NETS = goals.PLAIN


def line(net="784-500-10", batch=64, rule="dfa", datapath="float32", threads=1, cpu="Some CPU", share=0.9, **ratios):
    return {
        "cell": {
            "net": net,
            "batch": batch,
            "rule": rule,
            "format": datapath,
            "threads": threads,
            "cpu": cpu,
            "target": "avx2",
        },
        "samples_per_s": {"fasim": [12345, 13000], "M": [5000, 5100], "E": [4000, 4100]},
        "times_faster_than": {"M": 2.5, "E": 3.25} | ratios,
        "giga_operations_per_s": {"fasim": 200.0, "M": 80.0, "E": 64.0},
        "ceiling": {"name": "FMA peak", "share": share},
        "fuse": "none",
        "cpu": cpu,
        "target": "avx2",
        "cores": 2,
        "vectors": ["AVX2"],
        "commit": "abc",
        "versions": {"fasim": "1"},
        "torch": ["2.13"],
        "blas": ["openblas"],
        "variables": {},
        "rounds": 9,
        "turn_s": 0.2,
    }


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(render_performance, "RESULTS", tmp_path)

    def write(name, *lines_):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines_))

    return write


def goal(found, what, batch, unit):
    return next(one for one in found if (one.what, one.batch, one.unit) == (what, batch, unit))


def test_without_lines_every_table_says_so(results):
    for name, section in render_performance.SECTIONS.items():
        if name not in ("peers", "gpu"):  # which have lines of their own
            assert section() in (render_performance.NONE, ["Not measured yet: `make bench`."])


def test_every_section_has_its_marker_once():
    page = next(page for page in render.PAGES if page.name == "performance.md")
    assert render.PAGES[page] is render_performance.SECTIONS
    text = page.read_text()
    assert all(text.count(f"<!-- {name} -->") == 1 for name in render_performance.SECTIONS)


def test_a_table_has_a_row_a_network_and_a_column_a_rule(results):
    accuracy = {"test_error_percent": 3.59, "float32_test_error_percent": 3.534}
    results(
        "throughput",
        line(rule="bp"),
        line(rule="dfa", share=0.5) | {"ceiling": {"name": "weights read and written once", "share": 0.5}},
        line(batch=1, rule="dfa"),
        line(rule="dfa", datapath="s8", float32=1.875) | {"accuracy": accuracy},
        line(rule="dfa", threads=2, one_thread=1.75),
    )
    assert render_performance.format_table("float32") == [
        "| network | batch | bp | dfa |",
        "|---|---|---|---|",
        "| 784-500-10 | 1 | - | 12,345, 2.50 M, 3.25 E, 90 % p |",
        "| 784-500-10 | 64 | 12,345, 2.50 M, 3.25 E, 90 % p | 12,345, 2.50 M, 3.25 E, 50 % m |",
    ]
    assert render_performance.format_table("s8")[2:] == [
        "| MNIST test error % (float32) | | 3.59 (3.53) |",
        "| 784-500-10 | 64 | 12,345, 2.50 M, 3.25 E, 1.88 f, 90 % p |",
    ]
    assert render_performance.threads_table("float32")[2:] == ["| 784-500-10 | 64 | 12,345, 1.75 own, 2.50 M, 3.25 E |"]
    assert render_performance.peer_table()[3].endswith("| M 5,000 (80 GFLOP/s), E 4,000 | M 5,000 (80 GFLOP/s), E 4,000 |")


def test_two_threads_have_a_share_where_the_ceilings_were_measured_on_threads_of_their_own(results):
    ceiling = {"name": "peak of int8 products", "share": 0.784, "threads": 2}
    results(
        "throughput",
        line(datapath="s8", threads=2, one_thread=1.75) | {"ceiling": ceiling},
        line(datapath="s8", batch=16, threads=2, one_thread=1.5, share=1.084),
    )
    assert render_performance.threads_table("s8")[2:] == [
        "| 784-500-10 | 16 | 12,345, 1.50 own, 2.50 M, 3.25 E |",
        "| 784-500-10 | 64 | 12,345, 1.75 own, 2.50 M, 3.25 E, 78 % p |",
    ]


def test_the_last_line_of_a_cell_holds_and_machines_stay_apart(results):
    results("throughput", line(share=0.1), line(share=0.7), line(cpu="Other CPU", share=0.3))
    rows = render_performance.format_table("float32")
    assert [row for row in rows if row.endswith("CPU, avx2:")] == ["Some CPU, avx2:", "Other CPU, avx2:"]
    assert [row.rsplit(", ", 1)[1] for row in rows if row.startswith("| 784")] == ["70 % p |", "30 % p |"]
    assert sum("kernels for avx2" in row for row in render_performance.machine_list()) == 2


def test_kernels_of_two_machines_stay_apart(results):
    gemm = {"type": "int8", "shape": [64, 784, 500], "share_of_peak": 0.5, "target": "avx2"}
    rates = {"Some CPU": 10.0, "Other CPU": 20.0}
    results("gemms", *({"cpu": cpu, "giga_operations_per_s": {"fasim": rate}} | gemm for cpu, rate in rates.items()))
    rows = render_performance.gemm_table()
    assert [row for row in rows if row.startswith("| int8")] == [
        "| int8 | 64 x 784 x 500 | 10.0 | 50 % |",
        "| int8 | 64 x 784 x 500 | 20.0 | 50 % |",
    ]


def test_lines_without_torch_have_shorter_cells(results):
    bare = line()
    for name in ("samples_per_s", "giga_operations_per_s"):
        bare[name] = {"fasim": bare[name]["fasim"]}
    results("throughput", bare | {"times_faster_than": {}, "torch": None})
    assert render_performance.format_table("float32")[2] == "| 784-500-10 | 64 | 12,345, 90 % p |"
    assert render_performance.peer_table() == render_performance.NONE
    assert "- PyTorch absent; BLAS of NumPy and SciPy: openblas" in render_performance.machine_list()


def test_a_goal_goes_by_the_worst_case():
    what = "float32 784-500-10: bp, dfa, drtp"
    found = goals.step_goals([line(rule="bp", M=2.9), line(rule="dfa", M=2.2), line(rule="fa", M=1.0)])
    one = goal(found, what, "64", "M")
    assert one.values == {"bp": 2.9, "dfa": 2.2}
    assert one.met is False
    assert render_performance.goal_row(one) == f"| {what} | 64 | 2.3 x M | 2.2 (dfa) .. 2.9 (bp) | **not met** |"
    ceiling = goal(found, what, "64", "% of the ceiling")
    assert ceiling.met
    assert render_performance.goal_row(ceiling) == f"| {what} | 64 | 88 % of the ceiling | 90 (bp) .. 90 (bp) | met |"
    absent = goal(found, what, "1", "M")
    assert absent.met is None
    assert render_performance.goal_row(absent) == f"| {what} | 1 | 4.4 x M | not measured |  |"


@pytest.mark.parametrize(
    ("what", "batch", "unit", "least", "measured", "values"),
    [
        ("s8, 16-bit master: dfa, drtp, one or two hidden layers of 500 to 1000 units", "64", "own float32", 1.8,
         line(datapath="s8", rule="drtp", float32=1.9), {"drtp 784-500-10": 1.9}),
        ("s8 784-500-10: dfa, drtp", "1", "M", 5, line(datapath="s8", batch=1, M=6.0), {"dfa": 6.0}),
        ("s16, exact sums: dfa, drtp", "64", "M", 2, line(datapath="s16", M=1.5), {"dfa 784-500-10": 1.5}),
        ("2 threads, s8: bp, dfa, drtp", "16, 64", "own 1 thread", 1.7,
         line(datapath="s8", threads=2, one_thread=1.8), {"dfa 784-500-10 64": 1.8}),
        ("float32 784-100x240-10: drtp, dfa", "1", "M", 5, line(net="784-100x240-10", batch=1, M=7.0), {"dfa": 7.0}),
    ],
)  # fmt: skip
def test_goals_find_their_lines(what, batch, unit, least, measured, values):
    one = goal(goals.step_goals([measured, line(rule="sdfa"), line(net="28x28x1-32c5-2p-1000-10")]), what, batch, unit)
    assert (one.least, one.values) == (least, values)


def test_goals_of_kernels():
    gemms = [
        {"type": "int8", "shape": [64, 784, 500], "times_faster_than": {"torch mm": 8.0, "torch._int_mm": 0.9}},
        {"type": "int8", "shape": [16, 784, 500], "times_faster_than": {"torch mm": 1.0}},
    ]
    convs = [{"layer": "a", "what": "forward", "times_faster_than": {"channels first": 2.0, "channels last": 1.1}}]
    convs[0]["int8_times_own_float32"] = 3.0
    peers = [{"bits": 8, "shape": [64, 500, 10], "ratio_to_fasim": {"APyTypes": 30.0}, "every_mac_ratio": 150.0},
             {"bits": 16, "shape": [64, 500, 10], "ratio_to_fasim": {"APyTypes": 25.0}}]  # fmt: skip
    found = {(one.what, one.unit): one for one in goals.kernel_goals(gemms, convs, peers)}
    assert found["product of int8", "torch sgemm"].values == {"64x784x500": 8.0}
    assert found["product of int8", "torch sgemm"].met
    assert found["product of int8", "torch._int_mm"].met is False
    assert found["product of int16", "torch sgemm"].met is None
    assert found["convolution, float32, forward", "torch's better layout"].values == {"a": 1.1}
    assert found["convolution, float32, forward", "torch's better layout"].met is False
    assert found["fixed-point product and cast", "APyTypes"].values == {
        "8 bits, 64x500x10": 30.0,
        "16 bits, 64x500x10": 25.0,
    }
    assert found["saturation at every addition", "a loop of APyTypes' casts"].values == {"8 bits, 64x500x10": 150.0}


def test_the_page_says_how_much_of_the_grid_is_measured(results):
    assert render_performance.grid_note() == render_performance.NONE
    results("throughput", line(), line(net="784-7-10"), line(threads=2, datapath="s8"), line(datapath="s8_stoch"))
    assert render_performance.grid_note() == ["3 of the 1,176 cells of the grid are measured; a dash is one that is not."]


def gpu_line(kind="gpu", device="Some GPU", **cell):
    made = {"kind": kind, "driver": "1.2", "numba_cuda": "0.30", "commit": "abc", "samples_per_s": 123456}
    network = {"net": "784-500-10", "rule": "dfa", "format": "s8", "batch": 64, "replicas": 8, "graphs": 0}
    return made | {"cell": {**network, "device": device, **cell}, "times_faster_than": {"M": 2.5}}


def test_what_ran_on_a_gpu_has_a_table_and_what_was_simulated_none(tmp_path, monkeypatch):
    path = tmp_path / "gpu.jsonl"
    monkeypatch.setattr(render_gpu, "RESULTS", path)
    assert render_gpu.gpu_tables() == render_gpu.NONE
    product = {"size": 4096, "way": "mma", "device": "Some GPU", "product": "int8"}
    found = [
        gpu_line("simulated kernel"),
        gpu_line() | {"samples_per_s": 1},
        gpu_line(),
        gpu_line(device="Other GPU") | {"times_faster_than": {}},
        gpu_line() | {"cell": product, "giga_operations_per_s": 1500.5, "share_of_peak": 0.25},
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in found))
    text = render_gpu.gpu_tables()
    assert text[0] == "Some GPU, driver 1.2, numba-cuda 0.30, commits abc:"
    assert [row for row in text if row.startswith("| 784")] == [
        "| 784-500-10 | dfa | s8 | 64 | 8 | 0 | 123,456 | 2.50 M |",
        "| 784-500-10 | dfa | s8 | 64 | 8 | 0 | 123,456 | - |",
    ]
    assert "| 4096^3 | mma | 1,500.5 | 25 % |" in text
