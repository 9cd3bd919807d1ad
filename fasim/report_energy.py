"""Tables of an estimate: by phase, by layer, by tensor class, by memory, and time."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict

from rich.table import Table

from fasim.energy import CHOICES, CostOptions, Estimate, Processor
from fasim.energy.bill import as_chosen
from fasim.energy.timing import Timing
from fasim.report import kibibytes, picojoules
from fasim.schedule import PHASES


def energy_tables(estimate: Estimate, title: str) -> list[Table]:
    """Return the breakdown of an estimate.

    Parameters
    ----------
    estimate : Estimate
    title : str
        Of the first table.
    """
    tables = [_phases(estimate, title), _layers(estimate), _classes(estimate), _memories(estimate)]
    timing = estimate.timing
    return tables + ([time_table(timing, estimate.batch_size)] if timing is not None else [])


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(title=title, title_justify="left", min_width=len(title) + 4)
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _share(estimate: Estimate, pj: float) -> tuple[str, str]:
    total = estimate.energy_pj_per_sample.typical
    return picojoules(pj), f"{100 * pj / total:.1f} %"


def _phases(estimate: Estimate, title: str) -> Table:
    kinds = list(dict.fromkeys(kind for counts in estimate.operations_per_step.values() for kind in counts))
    table = _table(f"{title}: operations of one step", "phase", *kinds, "energy/sample", "share")
    for phase, counts in estimate.operations_per_step.items():
        numbers = (f"{counts.get(kind, 0):,}" for kind in kinds)
        table.add_row(phase, *numbers, *_share(estimate, estimate.phase_pj_per_sample[phase]))
    totals = (f"{sum(counts.get(kind, 0) for counts in estimate.operations_per_step.values()):,}" for kind in kinds)
    table.add_section()
    table.add_row("all", *totals, *_share(estimate, estimate.energy_pj_per_sample.typical))
    table.caption = "energy with the memory traffic of the phase"
    return table


def _layers(estimate: Estimate) -> Table:
    table = _table("energy per sample by layer", "layer", *PHASES, "all", "share")
    for layer, pj in estimate.layer_pj_per_sample.items():
        by_phase = (
            sum(row.pj_per_sample.typical for row in estimate.rows if (row.layer, row.phase) == (layer, phase))
            for phase in PHASES
        )
        table.add_row(str(layer), *(picojoules(value) for value in by_phase), *_share(estimate, pj))
    return table


def _classes(estimate: Estimate) -> Table:
    """Return words by tensor class, through the ports of every memory that they cross."""
    names = [memory.name for memory in estimate.memories]
    ends = [f"{name} {end}" for name in names for end in ("read", "write")]
    words: dict[str, dict[str, int]] = {}
    for row in estimate.rows:
        if row.level:
            of_class = words.setdefault(row.part, {})
            end = f"{row.level} {row.kind}"
            of_class[end] = of_class.get(end, 0) + row.count
    moved = [end for end in ends if any(end in of_class for of_class in words.values())]
    table = _table("words of one step by tensor class and memory", "tensor class", *moved, "energy/sample", "share")
    for cls in estimate.words_per_step:
        numbers = (f"{words[cls].get(end, 0):,}" for end in moved)
        table.add_row(cls, *numbers, *_share(estimate, estimate.class_pj_per_sample[cls]))
    table.add_section()
    table.add_row("all operations", *("" for _ in moved), *_share(estimate, estimate.class_pj_per_sample["operations"]))
    return table


def _memories(estimate: Estimate) -> Table:
    table = _table(
        "memories (kept there: the peak of each class by itself; no room is shared in time)",
        "memory",
        "size",
        "word bits",
        "kept there",
        "energy/sample",
        "share",
    )
    table.columns[4].no_wrap = False
    table.add_column("tensor classes")
    for memory in estimate.memories:
        table.add_row(
            f"{memory.name} {memory.technology}".strip(),
            kibibytes(memory.capacity_bytes),
            str(memory.word_bits),
            kibibytes(sum(memory.needed_bytes.values())),
            *_share(estimate, estimate.level_pj_per_sample.get(memory.name, 0.0)),
            ", ".join(memory.needed_bytes) or "-",
        )
    return table


def time_table(timing: Timing, batch_size: int) -> Table:
    """Return cycles and, where the clock is stated, seconds of a step, by phase and by how its ops may overlap."""
    table = _table("time of one step", "", "cycles", "cycles/sample", *(["time/sample"] if timing.clock_hz else []))
    lines = timing.phase_cycles | {
        "serial: one op after the other": timing.serial_cycles,
        "parallel: as the dependencies allow": timing.parallel_cycles,
        "pipelined: forward beside the rest": timing.pipelined_cycles,
    }
    for name, cycles in lines.items():
        per_sample = cycles / batch_size
        seconds = [f"{1e6 * per_sample / timing.clock_hz:.3g} us"] if timing.clock_hz else []
        table.add_row(name, f"{cycles:,}", f"{per_sample:,.0f}", *seconds)
    notes = [
        f"utilisation {100 * timing.utilisation:.1f} %",
        f"cycles that wait for memory: {timing.memory_bound_cycles:,}",
    ]
    if timing.fastest_cycles < timing.slowest_cycles:
        notes.append(f"serial {timing.fastest_cycles:,} to {timing.slowest_cycles:,} at the ends of what is stated")
    if timing.untimed:
        notes.append(f"not stated, and taken as no time: {', '.join(timing.untimed)}")
    table.caption = "; ".join(notes)
    return table


def facts(estimate: Estimate) -> list[str]:
    """Return what the table of a rule's arithmetic holds beside the energy."""
    saved = 100 * (1 - estimate.macs_per_sample / estimate.macs_per_sample_bp)
    return [
        f"weights: {estimate.weights:,}; feedback entries: {estimate.feedback_entries:,}"
        f" ({kibibytes(estimate.feedback_bytes)} stored)",
        f"MACs per sample of {estimate.versus}: {estimate.macs_per_sample_bp:,}; {estimate.rule} saves {saved:.1f} %",
        f"stored activations: {estimate.peak_activation_elements:,} elements per step",
    ]


def option_lines(estimate: Estimate, processor: Processor, versus_options: CostOptions | None = None) -> list[str]:
    """Return every choice that was made, each with its default, and the sources of the processor's numbers.

    Parameters
    ----------
    estimate : Estimate
    processor : Processor
        As it was loaded, with all technologies.
    versus_options : CostOptions, optional
        Of the rule that ratios are taken to, if they are others.
    """
    options, default = estimate.options, CostOptions()
    chosen = as_chosen(processor, options)
    choices = {name: (getattr(options, name), getattr(default, name)) for name in CHOICES}
    choices |= {"order": (estimate.order, "eager"), "fuse": (estimate.fuse, "none")}
    for name, (technology,) in chosen.technologies.items():
        choices[name] = (technology, processor.technologies[name][0])
    if options.sram_bytes:
        choices["sram"] = (kibibytes(options.sram_bytes), "the processor's")
    texts = [
        f"{name} {given}" + ("" if given == usual else f" (default {usual})") for name, (given, usual) in choices.items()
    ]
    if options.densities:
        texts.append(f"measured densities of {len(options.densities)} tensors")
        if versus_options is not None and estimate.versus != estimate.rule:
            texts.append(f"of {estimate.versus} {len(versus_options.densities)}")
    sources = dict.fromkeys(
        f"{name}: {constant.source} [{constant.kind}]"
        for name in chosen.prices
        if (constant := chosen.constant(name)) is not None
    )
    return [f"options: {', '.join(texts)}", "sources:", *(f"  {source}" for source in sources)]


def tidy_csv(estimate: Estimate) -> str:
    """Return all rows as CSV: phase, layer, part, kind, level, count, and pJ per sample low, typical, high."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("phase", "layer", "part", "kind", "level", "count", "low_pj", "typical_pj", "high_pj"))
    for row in estimate.rows:
        ends = asdict(row.pj_per_sample)
        writer.writerow(
            (row.phase, row.layer, row.part, row.kind, row.level, row.count, ends["low"], ends["typical"], ends["high"])
        )
    return text.getvalue()
