"""Sparse and low-rank structure: which outputs a hidden unit is wired to, and how that is stored.

A sparse matrix is the dense draw of its base at the places of a mask, so that full density *is* the dense matrix. The mask
is drawn after the values. Storage is by hidden unit, outputs ascending: ELL where every unit has equally many (no
pointers), CSR where the whole matrix has an exact number. It is never called sDFA: that is the rule of signs.
"""

from __future__ import annotations

import math

import numpy as np

from fasim.errors import ConfigError

Arrays = dict[str, np.ndarray]

# Factors of a low-rank matrix are clipped here, in units of their expected deviation; uniform ones reach 1.7 of it
CLIP_FACTOR = 4.0


def outputs_per_unit(structure: str, sizes: tuple[float, ...], outputs: int) -> int:
    """Return how many of the K outputs each hidden unit is wired to.

    Parameters
    ----------
    structure : str
        ``k``, ``block`` or ``nm``.
    sizes : tuple
        Its numbers.
    outputs : int
        K.

    Raises
    ------
    ConfigError
        If blocks do not divide the outputs: units of a cut block would have fewer wires, and ELL could not hold that.
    """
    first = min(int(sizes[0]), outputs)
    if structure == "nm":
        group = int(sizes[1])
        return outputs // group * int(sizes[0]) + min(int(sizes[0]), outputs % group)
    if structure == "block" and outputs % first:
        divisors = ", ".join(str(size) for size in range(1, outputs + 1) if outputs % size == 0)
        raise ConfigError(
            f"feedback in blocks of {first} cannot divide {outputs} outputs: take a block of {divisors} or more"
        )
    return first


def draw_index(
    random: np.random.Generator, structure: str, sizes: tuple[float, ...], outputs: int, units: int
) -> np.ndarray:
    """Draw the outputs that each hidden unit is wired to.

    Parameters
    ----------
    random : numpy.random.Generator
    structure, sizes
        ``k`` s: s of all outputs; ``nm`` n m: n of every m consecutive outputs (all of the last group if it has fewer);
        ``block`` b: b consecutive units share one random group of b consecutive outputs.
    outputs, units : int
        K and J.

    Returns
    -------
    int32[J, k]
        Ascending in each row.
    """
    width = outputs_per_unit(structure, sizes, outputs)
    if structure == "block":
        groups = random.integers(0, outputs // width, math.ceil(units / width))
        return (np.repeat(groups, width)[:units, None] * width + np.arange(width)).astype(np.int32)
    # k of all outputs is n of m with a single group
    wanted, group = (width, outputs) if structure == "k" else (int(sizes[0]), int(sizes[1]))
    count = math.ceil(outputs / group)
    keys = np.full((units, count * group), 2.0)  # the last group is padded with keys that lose and places that sort last
    keys[:, :outputs] = random.random((units, outputs))
    winners = np.argsort(keys.reshape(units, count, group), axis=2)[:, :, :wanted]
    places = (winners + np.arange(count)[:, None] * group).reshape(units, -1)
    return np.sort(places, axis=1)[:, :width].astype(np.int32)


def draw_places(random: np.random.Generator, count: int, outputs: int, units: int) -> Arrays:
    """Draw exactly `count` places of the whole matrix.

    Returns
    -------
    dict
        ``index``: int32[nnz], outputs, ascending in each unit; ``start``: int32[J + 1], where the entries of a unit begin.
    """
    flat = np.sort(random.choice(outputs * units, count, replace=False, shuffle=False))
    start = np.searchsorted(flat, np.arange(units + 1) * outputs)
    return {"index": (flat % outputs).astype(np.int32), "start": start.astype(np.int32)}


def ell(matrix: np.ndarray, index: np.ndarray) -> Arrays:
    """Keep a matrix at the places of an index.

    Parameters
    ----------
    matrix : float64[K, J]
    index : int32[J, k]

    Returns
    -------
    dict
        The values, float64[J, k], under the empty suffix; ``index``.
    """
    return {"": np.take_along_axis(np.ascontiguousarray(matrix.T), index.astype(np.intp), axis=1), "index": index}


def csr(matrix: np.ndarray, places: Arrays) -> Arrays:
    """Keep a matrix, float64[K, J], at given places: its values, float64[nnz], under the empty suffix."""
    return {"": matrix[places["index"], _unit_of(places["start"])], **places}


def low_rank(random: np.random.Generator, rank: int, std: float, outputs: int, units: int) -> Arrays:
    """Draw a sum of outer products with a given standard deviation of the written-out matrix.

    ``B = in @ out``; both factors are uniform and share one scale.

    Returns
    -------
    dict
        ``in``: float64[K, r]; ``out``: float64[r, J].
    """
    left, right = random.uniform(-1, 1, (outputs, rank)), random.uniform(-1, 1, (rank, units))
    factor = math.sqrt(std / float(np.std(left @ right)))
    limit = factor_limit(rank, std)
    return {"in": np.clip(factor * left, -limit, limit), "out": np.clip(factor * right, -limit, limit)}


def factor_limit(rank: int, std: float) -> float:
    """Return the largest magnitude of a factor: 4 times its expected deviation, ``sqrt(std / sqrt(r))``."""
    return CLIP_FACTOR * math.sqrt(std / math.sqrt(rank))


def write_out(arrays: Arrays, storage: str, outputs: int, units: int) -> np.ndarray:
    """Return the dense matrix, float64[K, J], that stored arrays stand for.

    Parameters
    ----------
    arrays : dict
        By suffix.
    storage : str
        ``dense``, ``ell``, ``csr`` or ``low_rank``.
    outputs, units : int
        K and J.
    """
    if storage == "dense":
        return arrays[""].reshape(outputs, units)
    if storage == "low_rank":
        return arrays["in"] @ arrays["out"]
    matrix = np.zeros((outputs, units))
    if storage == "ell":
        matrix[arrays["index"], np.arange(units)[:, None]] = arrays[""]
    else:
        matrix[arrays["index"], _unit_of(arrays["start"])] = arrays[""]
    return matrix


def _unit_of(start: np.ndarray) -> np.ndarray:
    """Return the hidden unit of each entry."""
    return np.repeat(np.arange(len(start) - 1), np.diff(start))
