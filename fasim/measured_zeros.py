"""The zeros that a run had, for the price of a step that makes no products with them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from fasim.errors import ConfigError, DataError
from fasim.files import parse_json
from fasim.fixedpoint import Datapath
from fasim.network import Network
from fasim.run_trace import FILE, TraceLog
from fasim.schedule import StepSettings

SUMMARY = "summary.json"
# Of a step that is priced: a network has the same zeros whatever number of samples are counted together.
_NOT_COMPARED = ("batch_size",)
_OF_NETWORK = ("hidden", "output", "batch_norm", "dropout", "input_dropout", "dropout_kind")


def measured_densities(
    folder: Path,
    network: Network,
    rule: str,
    datapath: Datapath | None,
    settings: StepSettings,
    *,
    what: str = "densities",
) -> dict[str, float]:
    """Return the share of numbers other than 0 in the last epoch of a run, by tensor.

    Parameters
    ----------
    folder : Path
        Of a run of ``fasim train --trace``.
    network : Network
    rule : str
    datapath : Datapath or None
        None is float32.
    settings : StepSettings
        Of the step that is priced, as the network, the rule and the datapath: the run must have had the same. Batch sizes
        may differ, initial values may too.
    what : str
        What the folder is called in a refusal.

    Returns
    -------
    dict of float
        0 to 1, for ``CostOptions(densities=...)``.

    Raises
    ------
    DataError
        If a file is absent or damaged.
    ConfigError
        If the run is one of another step.
    """
    for name in (FILE, SUMMARY):
        if not (folder / name).is_file():
            raise DataError(f"{what} {folder}: no {name} is there; give the folder of a run of `fasim train --trace`")
    try:
        summary = parse_json((folder / SUMMARY).read_text(encoding="utf-8"))
        of_run = {
            key: summary[key] for key in ("net", "rule", "datapath", "datapath_toml", *_OF_NETWORK, *asdict(settings))
        }
        records = TraceLog(folder, resume=True).records
        last = max(record["epoch"] for record in records)
        densities = {record["name"]: 1 - record["zero_fraction"] for record in records if record["epoch"] == last}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{what} {folder}: {FILE} or {SUMMARY} is damaged ({error}); train that run again") from error
    step = {"net": str(network), "rule": rule, "datapath": "float32" if datapath is None else datapath.name}
    step |= {key: getattr(network, key) for key in _OF_NETWORK} | asdict(settings)
    for key, value in step.items():
        if key not in _NOT_COMPARED and of_run[key] != value:
            raise ConfigError(
                f"{what} {folder}: {key} of that run is {of_run[key]}, of the step that is priced {value}; give a run of "
                "the same step"
            )
    own_toml = None if datapath is None else datapath.to_toml()
    if of_run["datapath"] == step["datapath"] and summary["datapath_toml"] != own_toml:
        raise ConfigError(
            f"{what} {folder}: that run's datapath has the name {of_run['datapath']} too, and other contents; give a run "
            "of the same datapath"
        )
    return densities
