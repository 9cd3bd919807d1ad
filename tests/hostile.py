"""Texts, bytes and documents that somebody might give: valid ones with a few things changed, and what was never one."""

from __future__ import annotations

import copy
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasim.errors import FasimError

# quick in every run of the tests, thorough with `-m slow`
QUICK, THOROUGH = 60, 1000
ALPHABET = list("0123456789-+.x:<>,=^ acdfkmnoprsu_\n\t\0'\"[]{}#%/\\~é𝟗")
NASTY = ["", "0", "-1", "1e999", "nan", "inf", "9" * 30, "9" * 5000, "../../x", "/etc/passwd", "\0", "~nobody/x", "[" * 200]
NUMBERS = [-1, 0, 10**30, 1e308, float("nan"), float("inf")]
VALUES = [None, True, *NUMBERS, "", "x", "../../x", "\N{LATIN SMALL LETTER E WITH ACUTE}\0", [], {}, [[]], {"a": {}}]


def fuzz(examples, strategy, check):
    """Run a check on drawn examples, always the same ones."""

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def run(example):
        check(example)

    run()


def refused_in_one_line(function, *arguments):
    """Call a function: it may work, or say in one line what is wrong; return what it said."""
    try:
        function(*arguments)
    except FasimError as error:
        text = str(error)
        assert text.strip()
        assert "\n" not in text, text
        return text
    return ""


@st.composite
def changed(draw, seeds, alphabet=None):
    """One of the seeds with up to four places replaced, removed, doubled or cut off; or a text of no sense."""
    seed = draw(st.sampled_from(seeds))
    make = bytes if isinstance(seed, bytes) else str
    if make is bytes:
        pieces = st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 8, bytes(8), b"\x80", b"\xff\xff\xff\x7f"]))
    else:
        pieces = st.one_of(st.text(st.sampled_from(alphabet or ALPHABET), max_size=4), st.sampled_from(NASTY))
    if draw(st.integers(0, 9)) == 0:
        return draw(pieces)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(seed)))
        end = min(len(seed), place + draw(st.integers(0, 6)))
        how = draw(st.integers(0, 3))
        middle = draw(pieces) if how < 2 else seed[place:end] * 2 if how == 2 else seed[:0]
        seed = seed[:place] + middle + (seed[:0] if how == 3 and draw(st.booleans()) else seed[end:])
    return seed


def places(document, path=()):
    """Return the paths to all entries of a document."""
    found = [path] if path else []
    entries = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, entry in entries:
        found += places(entry, (*path, key))
    return found


@st.composite
def changed_document(draw, documents, most=200):
    """One of the documents with up to three entries replaced, removed, or entered under another key."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        paths = places(document)[:most]
        if not paths:
            break
        *above, key = draw(st.sampled_from(paths))
        parent = document
        for step in above:
            parent = parent[step]
        how = draw(st.integers(0, 3))
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[draw(st.sampled_from(["", "x", "é", f"{key}s"]))] = parent.pop(key)
        else:
            parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    return document


def as_toml(document, above=()):
    """Return a document as TOML; what TOML has not (null) becomes text."""
    names = [json.dumps(str(name)) for name in above]
    text = f"[{'.'.join(names)}]\n" if names else ""
    tables = {key: entry for key, entry in document.items() if isinstance(entry, dict)}
    text += "".join(f"{json.dumps(str(key))} = {_value(document[key])}\n" for key in document if key not in tables)
    return text + "".join(as_toml(entry, (*above, key)) for key, entry in tables.items())


def _value(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (int, float)) else json.dumps(str(value))
