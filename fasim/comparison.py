"""Comparison: every rule on every datapath over several seeds, with accuracy (without labels: loss) beside energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import fmean, stdev
from typing import Any

from fasim import backends
from fasim.checks import check_fit, check_input, check_rates, default_learning_rate
from fasim.data import Data, load
from fasim.energy import Estimate, estimate, load_processor
from fasim.errors import ConfigError
from fasim.fixedpoint import Datapath, load_datapath
from fasim.intervals import paired_difference
from fasim.network import Network
from fasim.plan import Plan
from fasim.population import Replica, groups, train_population
from fasim.rng import check_seed
from fasim.rules import Rule, training_step
from fasim.rules import get as get_rule
from fasim.schedule import StepSettings
from fasim.target import (
    Target,
    check_target,
    ratio_range,
    ratio_to_baseline,
    reached_figures,
    samples_to_target,
)
from fasim.training import Epoch, Run

DEFAULT_RULES = ("bp", "fa", "dfa", "sdfa", "drtp")
DEFAULT_DATAPATHS = ("float32", "s16", "s8")
DEFAULT_NETS = {
    "digits": "64-128-128-10",
    "mnist": "784-500-500-10",
    "fashion-mnist": "784-500-500-10",
}
DEFAULT_HIDDEN_UNITS = 128
DEFAULT_CODE_UNITS = 32


@dataclass(frozen=True)
class Cell:
    """One rule on one datapath with one seed: what a comparison runs at a time."""

    rule: str
    datapath: str
    seed: int


@dataclass
class Row:
    """One rule on one datapath: means over the seeds that have finished."""

    rule: str
    datapath: str
    runs: list[Run]
    energy: Estimate
    target: Target | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the row for JSON; accuracies 0..1 (None without labels), energy in pJ per training sample."""
        accuracies = [run.test_accuracy for run in self.runs]
        totals = [run.trace.total for run in self.runs]
        elements = sum(total.elements for total in totals)
        losses = [run.test_loss for run in self.runs]
        labelled, finite = not any(map(math.isnan, accuracies)), all(map(math.isfinite, losses))
        energy = self.energy.as_dict()
        row = {
            "rule": self.rule,
            "datapath": self.datapath,
            "test_accuracy_mean": fmean(accuracies) if labelled else None,
            "test_accuracy_std": stdev(accuracies) if labelled and len(accuracies) > 1 else None,
            "test_loss_mean": fmean(losses) if finite else None,
            "test_loss_std": stdev(losses) if finite and len(losses) > 1 else None,
            "seeds": [run.seed for run in self.runs],
            "train_samples_per_s": round(fmean(run.train_samples_per_s for run in self.runs)),
            "macs_per_sample": energy["macs_per_sample"],
            "energy_pj_per_sample": energy["energy_pj_per_sample"],
            "energy_ratio_to_bp": energy["energy_ratio_to_bp"],
            "learning_rate": self.runs[0].learning_rate,
            "peak_activation_bytes": energy["peak_activation_bytes"],
            "peak_live_bytes": energy["peak_live_bytes"],
            "feedback_bytes": energy["feedback_bytes"],
            "external_bytes": energy["external_bytes"],
            "fits": energy["fits"],
            "saturations": fmean(total.saturations for total in totals),
            "saturation_fraction": sum(total.saturations for total in totals) / elements if elements else 0.0,
            "wraps": fmean(total.wraps for total in totals),
            "diverged_seeds": [run.seed for run in self.runs if run.diverged],
        }
        if self.target is not None:
            samples = [samples_to_target(run.points, self.target.accuracy) for run in self.runs]
            size = self.energy.batch_size
            row |= reached_figures(samples, self.energy.energy_pj_per_sample, self.target.steps_between(size) * size)
        return row

    def curve(self) -> list[dict[str, object]]:
        """Return every evaluation within the epochs, one dict each; energy in pJ at typical constants, accuracy 0..1."""
        energy = self.energy.energy_pj_per_sample.typical
        return [
            {
                "rule": self.rule,
                "datapath": self.datapath,
                "seed": run.seed,
                "samples": point.samples,
                "energy_pj": point.samples * energy,
                "validation_accuracy": point.accuracy,
            }
            for run in self.runs
            for point in run.points
        ]


@dataclass
class Comparison:
    """The rows of a comparison, and what they have in common; `datapaths` holds each fixed-point one as TOML."""

    data: str
    data_note: str
    network: Network
    processor: str
    settings: StepSettings
    epochs: int
    plan: Plan = field(default_factory=Plan)
    standardised: bool = False
    datapaths: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    complete: bool = False
    target: Target | None = None

    @property
    def has_labels(self) -> bool:
        """Whether there is an accuracy; otherwise rules are compared by their test loss."""
        return self.settings.target == "label"

    def difference_to_first(self, row: Row) -> dict[str, object]:
        """Return by how much a row differs from the first rule on the same datapath, over the seeds that both have.

        ``mean`` of ``figure(rule, seed) - figure(first rule, seed)`` with Student's interval of 95 %, see
        :func:`fasim.intervals.paired_difference`; the figure is the test accuracy, 0..1, without labels the test loss.

        Returns
        -------
        dict
            ``versus``, ``mean``, ``low``, ``high``, ``seeds``; all but the first are None (seeds: 0) for the first rule
            itself and where a loss is infinite, the ends with one seed alone.
        """
        first = self.rows[0].rule
        versus: dict[str, object] = {"versus": first, "mean": None, "low": None, "high": None, "seeds": 0}
        other = next((one for one in self.rows if (one.rule, one.datapath) == (first, row.datapath)), None)
        if other is None or other is row:
            return versus
        name = "test_accuracy" if self.has_labels else "test_loss"
        own, base = ({run.seed: getattr(run, name) for run in one.runs} for one in (row, other))
        if not all(map(math.isfinite, (*own.values(), *base.values()))):
            return versus
        found = paired_difference(own, base)
        if found is None:
            return versus
        return {"versus": first, "mean": found.mean, "low": found.low, "high": found.high, "seeds": found.size}

    def as_dict(self) -> dict[str, object]:
        """Return everything for JSON."""
        network = self.network
        content: dict[str, object] = {
            "data": self.data,
            "data_note": self.data_note,
            "net": str(network),
            "hidden": network.hidden,
            "output": network.output,
            "init": network.init,
            "bias_init": network.bias_init,
            "batch_norm": network.batch_norm,
            "dropout": network.dropout,
            "input_dropout": network.input_dropout,
            "dropout_kind": network.dropout_kind,
            "processor": self.processor,
            "epochs": self.epochs,
            "settings": asdict(self.settings),
            "plan": asdict(self.plan),
            "standardised": self.standardised,
            "datapaths": self.datapaths,
            "complete": self.complete,
        }
        rows = [row.as_dict() | {"difference_to_first": self.difference_to_first(row)} for row in self.rows]
        if self.target is not None:
            content["target"] = asdict(self.target) | {
                "evaluate_every": self.target.steps_between(self.settings.batch_size) * self.settings.batch_size
            }
            baselines = {row["datapath"]: row for row in rows if row["rule"] == self.rows[0].energy.versus}
            for row in rows:
                baseline = baselines.get(row["datapath"])
                row["energy_to_target_ratio_to_bp"] = ratio_to_baseline(row, baseline)
                row["energy_to_target_ratio_to_bp_range"] = ratio_range(row, baseline)
        return content | {"rows": rows}


def default_network(data: Data, target: str = "label") -> str:
    """Return the topology that is used when none is given: two hidden layers, in an auto-encoder three."""
    inputs = data.x_train.shape[1]
    if target == "input":
        return f"{inputs}-{DEFAULT_HIDDEN_UNITS}-{DEFAULT_CODE_UNITS}-{DEFAULT_HIDDEN_UNITS}-{inputs}"
    if data.name in DEFAULT_NETS:
        return DEFAULT_NETS[data.name]
    return f"{inputs}-{DEFAULT_HIDDEN_UNITS}-{DEFAULT_HIDDEN_UNITS}-{data.classes}"


def compare(
    data: Data | str = "digits",
    network: Network | str | None = None,
    *,
    rules: Sequence[str | Rule] = DEFAULT_RULES,
    datapaths: Sequence[str | Datapath] = DEFAULT_DATAPATHS,
    epochs: int = 20,
    seeds: Sequence[int] = (0, 1, 2),
    learning_rate: float | Mapping[str, float] | None = None,
    settings: StepSettings | None = None,
    plan: Plan | None = None,
    processor: str = "generic_45nm",
    backend: str = "cpu",
    threads: int = 1,
    on_epoch: Callable[[Cell, Epoch], None] | None = None,
    on_run: Callable[[Comparison, Run], None] | None = None,
    target: Target | None = None,
) -> Comparison:
    """Train every rule on every datapath over all seeds, and estimate the energy of each.

    Everything is checked before the first run starts: a comparison never stops half-way for a wrong name.

    Parameters
    ----------
    data : Data or str
    network : Network or str, optional
        Default: two hidden layers, see :func:`default_network`.
    rules : sequence of str or Rule
        Names, or rules of one's own.
    datapaths : sequence of str or Datapath
        ``float32``, presets, paths of TOML files.
    epochs : int
    seeds : sequence of int
        Paired: every cell of one seed starts from the same draws.
    learning_rate : float or mapping of rule to float, optional
        The key ``""`` of a mapping is for rules that it does not name. Default by optimizer.
    settings : StepSettings, optional
    plan : Plan, optional
        Learning-rate schedules, stages, stopping, augmentation, the last batch.
    processor : str
        Preset or TOML path, see :mod:`fasim.energy`.
    backend : str
    threads : int
    on_epoch : callable, optional
        Called with the cell and each of its epochs.
    on_run : callable, optional
        Called with the comparison so far and the run that has just finished.
    target : Target, optional
        Hold out a validation split, by seed and the same for all rules, and find the energy until its accuracy is reached;
        see :mod:`fasim.target`.

    Returns
    -------
    Comparison
    """
    data = load(data) if isinstance(data, str) else data
    settings, plan = settings or StepSettings(), plan or Plan()
    network = default_network(data, settings.target) if network is None else network
    network = Network.parse(network) if isinstance(network, str) else network
    check_fit(network, data, settings, epochs, plan)
    if target is not None:
        check_target(target, data, settings, plan, epochs)
    loaded = [load_datapath(item) if isinstance(item, str) else item for item in datapaths]
    used_rules = [get_rule(item) for item in rules]
    rule_names = [rule.name for rule in used_rules]
    if isinstance(learning_rate, Mapping) and (unused := set(learning_rate) - {"", *rule_names}):
        raise ConfigError(f"learning rate for {', '.join(sorted(unused))}: not among the rules {', '.join(rule_names)}")
    rates = {name: _rate(learning_rate, name, settings, network.outputs) for name in rule_names}
    for what, given in (("rules", rule_names), ("datapaths", datapaths), ("seeds", seeds)):
        if not given or len({str(item) for item in given}) != len(given):
            raise ConfigError(f"{what}: at least one is needed, and each only once")
    for seed in seeds:
        check_seed(seed)
    name = load_processor(processor).name
    backends.get(backend)
    labels = [datapath_name(datapath) for datapath in loaded]
    if len(set(labels)) != len(labels):
        raise ConfigError(
            f'datapaths {", ".join(labels)}: two have one name; write another name = "..." into one of the files'
        )
    for datapath in loaded:
        check_input(datapath, data)
    energies = {}
    for rule in used_rules:
        for datapath in loaded:
            label = datapath_name(datapath)
            energies[rule.name, label] = estimate(network, rule, datapath, settings=settings, processor=processor)
            check_rates(training_step(network, rule, settings, datapath), plan, rates[rule.name], epochs)
    result = Comparison(data.name, data.note, network, name, settings, epochs, plan, data.gain is not None, target=target)
    result.datapaths = {datapath.name: datapath.to_toml() for datapath in loaded if datapath is not None}
    rows = {
        (rule.name, label): Row(rule.name, label, [], energies[rule.name, label], target)
        for label in labels
        for rule in used_rules
    }
    common: dict[str, Any] = {"settings": settings, "plan": plan, "backend": backend}
    common_to_runs = common | {"epochs": epochs, "threads": threads, "target": target}
    for rule, replicas in _populations(network, data, loaded, used_rules, seeds, rates, common):
        told = None if on_epoch is None else partial(_tell, on_epoch, rule.name)
        trained = train_population(network, data, replicas, rule=rule, **common_to_runs, on_epoch=told)
        for one, run in zip(replicas, trained, strict=True):
            rows[rule.name, _label(one)].runs.append(run)
            result.rows = [row for row in rows.values() if row.runs]
            result.complete = all(len(row.runs) == len(seeds) for row in rows.values())
            if on_run is not None:
                on_run(result, run)
    return result


def _populations(
    network: Network,
    data: Data,
    datapaths: Sequence[Datapath | None],
    rules: Sequence[Rule],
    seeds: Sequence[int],
    rates: Mapping[str, float],
    common: Mapping[str, Any],
) -> Iterator[tuple[Rule, list[Replica]]]:
    """Yield populations: the seeds of a rule on a datapath, and on those that can share its launches."""
    divided = {rule.name: groups(network, data, datapaths, rule=rule, **common) for rule in rules}
    for datapath in datapaths:
        for rule in rules:
            group = next((one for one in divided[rule.name] if one[0] is datapath), [])
            replicas = [
                Replica(seed, rates[rule.name], datapath="float32" if one is None else one)
                for one in group
                for seed in seeds
            ]
            if replicas:
                yield rule, replicas


def _label(one: Replica) -> str:
    return one.datapath if isinstance(one.datapath, str) else one.datapath.name


def _tell(on_epoch: Callable[[Cell, Epoch], None], rule: str, replica: Replica, epoch: Epoch) -> None:
    on_epoch(Cell(rule, _label(replica), replica.seed), epoch)


def datapath_name(datapath: Datapath | None) -> str:
    """Return the name that tables and results give a datapath."""
    return "float32" if datapath is None else datapath.name


def _rate(given: float | Mapping[str, float] | None, rule: str, settings: StepSettings, outputs: int) -> float:
    if given is None:
        return default_learning_rate(settings, outputs)
    if isinstance(given, Mapping):
        return given.get(rule, given.get("", default_learning_rate(settings, outputs)))
    return given
