"""Experiments as TOML: shared settings on top, then the rows and columns of a table, then what differs from cell to cell.

::

    title = "MNIST, four rules"
    paper = "..."

    [settings]                                  # of all cases: each a value and where it is from
    batch_size = [60, "inferred: ..."]

    [rows."784-500-10"]                         # of a row; a case is named by its row and its column
    net = ["784-500-10", "paper: table, first column"]

    [columns.bp]                                # of a column; a list has rows alone
    rule = ["bp", "paper: table, head"]

    [cells.learning_rate]                       # by row, one value a column (in a list: the value)
    source = "inferred: ..."
    "784-500-10" = [1.5e-4, 5e-4]

    [published.test_error]                      # the same, as text
    source = "paper: table"
    "784-500-10" = ["1.72 ±.08", "not given"]

    [orders.test_error]                         # what the paper claims, best first, of a row or of each (*); optional
    source = "paper: section 4"
    claimed = ["*: bp, fa > dfa"]

    [variants.code]                             # another reading, optional
    title = "as the authors' code has it"
    settings.batch_size = [64, "original code: main.py"]

    [quick]                                     # a short run with seed 0 and its bands, optional
    epochs = 3
    source = "measured: ..."
    bands."784-500-10 bp" = [6.1, 7.3]

Nothing is read over: an unknown key, a setting without a source, a cell without a published figure (or ``figure only``,
``not given``) and a case whose network or settings cannot be are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fasim import rules
from fasim.data import names as data_names
from fasim.data import parse_augmentation
from fasim.data.transform import STANDARDISATIONS
from fasim.errors import ConfigError, unknown_name
from fasim.experiments.experiment import Case, Experiment, Published, Quick, Setting, Variant
from fasim.experiments.keys import MEASURES, REQUIRED, check_setting
from fasim.experiments.orders import Order, parse_orders
from fasim.tomlfiles import TomlError, read_toml

KEYS = (
    *("title", "paper", "note", "cannot_run", "settings", "rows", "columns", "cells"),
    *("published", "orders", "variants", "quick"),
)
_VARIANT = ("title", "cases", "settings", "published")
_ORDERS = ("claimed", "source")
# the one column of a list, whose name no case shows
_LIST = ""


def read_experiment(path: Path) -> Experiment:
    """Return the experiment of a TOML file, named as the file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigError
        In one line: what cannot be read, is unknown, is missing or cannot be.
    """
    try:
        document = read_toml(path)
    except TomlError as error:
        raise ConfigError(f"experiment {path}: cannot be read as TOML: {error}") from None
    try:
        return _experiment(path.stem, document)
    except ConfigError as error:
        raise ConfigError(f"experiment {path.name}: {error}") from None


def _experiment(name: str, document: dict[str, Any]) -> Experiment:
    _check_keys("key", document, KEYS, needed=("title", "paper", "settings", "rows", "published"))
    texts = {key: _text(key, document[key]) for key in ("title", "paper", "note", "cannot_run") if key in document}
    rows = {row: _settings(f"rows.{row}", given) for row, given in _table("rows", document).items()}
    columns = {column: _settings(f"columns.{column}", given) for column, given in _table("columns", document).items()}
    columns = columns or {_LIST: {}}
    shared = _settings("settings", document["settings"])
    cells = {key: _cells(f"cells.{key}", given, rows, columns) for key, given in _table("cells", document).items()}
    published = {key: _published(key, given, rows, columns) for key, given in _table("published", document).items()}
    if not rows or not published:
        raise ConfigError(
            "at least one row and one published measure are needed; write [rows.<name>], [published.<measure>]"
        )
    cases = []
    for row, of_row in rows.items():
        for column, of_column in columns.items():
            if both := sorted(of_row.keys() & of_column.keys()):
                raise ConfigError(f"{both[0]} is given by row {row!r} and column {column!r}; write it in [cells.{both[0]}]")
            own = {key: values[row, column] for key, values in cells.items()}
            settings = {**shared, **of_row, **of_column, **own}
            cases.append(
                Case(_name(row, column), settings, {key: values[row, column] for key, values in published.items()})
            )
    variants = {key: _variant(key, given, cases) for key, given in _table("variants", document).items()}
    quick = _quick(document["quick"], cases) if "quick" in document else None
    orders = [
        order
        for measure, given in _table("orders", document).items()
        for order in _orders(measure, given, rows, [case.name for case in cases], published)
    ]
    experiment = Experiment(name, cases=tuple(cases), variants=variants, quick=quick, orders=tuple(orders), **texts)
    for variant in ("", *variants):
        for case in experiment.select(variant=variant):
            _check_case(case, variant)
    return experiment


def _name(row: str, column: str) -> str:
    return f"{row} {column}".strip()


def _check_keys(what: str, given: Iterable[str], known: Iterable[str], needed: Iterable[str] = ()) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(unknown_name(what, key, known))
    for key in needed:
        if key not in given:
            raise ConfigError(f"{what} {key} is missing; write it")


def _table(key: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of tables, empty where there is none."""
    found = document.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ConfigError(f"{key} is no table of tables: write [{key}.<name>] above each")
    return found


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} = {value!r}: write text")
    return value


def _settings(where: str, given: object) -> dict[str, Setting]:
    """Return settings, each given as ``[value, "source: where"]``."""
    if not isinstance(given, dict):
        raise ConfigError(f"{where} is no table: write [{where}]")
    found = {}
    for key, pair in given.items():
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
            raise ConfigError(f'{where}: {key} = {pair!r}: write a value and its source, such as [60, "paper: section 3"]')
        found[key] = _setting(where, key, *pair)
    return found


def _setting(where: str, key: str, value: object, source: str) -> Setting:
    try:
        check_setting(key, value)
        return Setting(value, source)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _entries(where: str, given: dict[str, Any], rows: Iterable[str], columns: Iterable[str]) -> tuple[str, dict[Any, Any]]:
    """Return the source of a table of cells, and its values by row and column; every cell must be there."""
    names = list(columns)
    _check_keys(f"row of [{where}]", given, (*rows, "source"), needed=("source", *rows))
    values: dict[Any, Any] = {}
    for row in rows:
        entries = given[row] if names != [_LIST] else [given[row]]
        if not isinstance(entries, list) or len(entries) != len(names):
            raise ConfigError(f"[{where}] {row!r}: write one value for each of the columns {', '.join(names)}")
        values |= {(row, column): entry for column, entry in zip(names, entries, strict=True)}
    return _text(f"[{where}] source", given["source"]), values


def _cells(where: str, given: dict[str, Any], rows: Iterable[str], columns: Iterable[str]) -> dict[Any, Setting]:
    source, values = _entries(where, given, rows, columns)
    return {cell: _setting(where, where.partition(".")[2], value, source) for cell, value in values.items()}


def _published(key: str, given: dict[str, Any], rows: Iterable[str], columns: Iterable[str]) -> dict[Any, Published]:
    if key not in MEASURES:
        raise ConfigError(unknown_name("measure", key, MEASURES))
    source, values = _entries(f"published.{key}", given, rows, columns)
    return {cell: _figure(f"published.{key}", value, source) for cell, value in values.items()}


def _figure(where: str, value: object, source: str) -> Published:
    try:
        return Published(_text("figure", value), source)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _variant(name: str, given: dict[str, Any], cases: Iterable[Case]) -> Variant:
    where = f"variants.{name}"
    _check_keys(f"key of [{where}]", given, _VARIANT, needed=("title", "settings"))
    patterns = given.get("cases", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigError(f'{where}: cases = {patterns!r}: write a list of patterns, such as ["CIFAR-10 *"]')
    published = {}
    for key, entries in _table("published", given).items():
        if key not in MEASURES:
            raise ConfigError(unknown_name("measure", key, MEASURES))
        _check_keys(f"case of [{where}.published.{key}]", entries, [*(case.name for case in cases), "source"], ["source"])
        source = _text("source", entries["source"])
        published[key] = {case: _figure(where, entries[case], source) for case in entries if case != "source"}
    settings = _settings(f"{where}.settings", given["settings"])
    return Variant(_text(f"{where}: title", given["title"]), settings, tuple(patterns), published)


def _orders(
    measure: str, given: dict[str, Any], rows: Iterable[str], cases: Sequence[str], published: Iterable[str]
) -> list[Order]:
    where = f"orders.{measure}"
    _check_keys(f"key of [{where}]", given, _ORDERS, needed=_ORDERS)
    _check_keys("measure of [orders]", [measure], published)
    source, claimed = _text(f"[{where}] source", given["source"]), given["claimed"]
    if not isinstance(claimed, list) or not claimed or not all(isinstance(text, str) for text in claimed):
        raise ConfigError(f'[{where}] claimed = {claimed!r}: write a list of orders, such as ["bp, fa > dfa"]')
    try:
        _ = Setting(measure, source)
        return [order for text in claimed for order in parse_orders(measure, text, rows, cases, source)]
    except ConfigError as error:
        raise ConfigError(f"[{where}]: {error}") from None


def _quick(given: object, cases: Iterable[Case]) -> Quick:
    if not isinstance(given, dict):
        raise ConfigError("quick is no table: write [quick]")
    _check_keys("key of [quick]", given, ("epochs", "source", "bands"), needed=("epochs", "source", "bands"))
    check_setting("epochs", given["epochs"])
    if not str(given["source"]).startswith("measured: "):
        raise ConfigError(f"[quick] source = {given['source']!r}: write 'measured: ' and how")
    bands = given["bands"]
    if not isinstance(bands, dict) or not bands:
        raise ConfigError("[quick] bands is no table: write [quick.bands] with two numbers a case")
    _check_keys("case of [quick.bands]", bands, [case.name for case in cases])
    for case, band in bands.items():
        numbers = isinstance(band, list) and [type(end) for end in band if type(end) in (int, float)]
        if not numbers or len(numbers) != len(band) or len(band) != 2 or not band[0] < band[1]:
            raise ConfigError(f"[quick.bands] {case!r} = {band!r}: write the lowest and the highest, such as [6.1, 7.3]")
    return Quick(given["epochs"], given["source"], {case: (float(low), float(high)) for case, (low, high) in bands.items()})


def _check_case(case: Case, variant: str) -> None:
    """Refuse a case that lacks a setting, or whose network, step or plan cannot be."""
    try:
        for key in REQUIRED:
            if key not in case.settings:
                raise ConfigError(f"{key} is missing; write it with its source")
        rules.get(case.value("rule"))
        if (data := case.value("data")) not in data_names() and not data.endswith((".npz", ".csv")):
            raise ConfigError(unknown_name("data set", data, data_names()))
        if (how := case.value("standardise")) not in STANDARDISATIONS:
            raise ConfigError(unknown_name("standardisation", how, STANDARDISATIONS))
        network, plan = case.network(), case.plan()
        _ = case.step_settings()
        if plan.augment:
            parse_augmentation(plan.augment, network.input_shape)
    except ConfigError as error:
        raise ConfigError(f"case {case.name!r}{f' of variant {variant}' if variant else ''}: {error}") from None
