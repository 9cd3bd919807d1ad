"""Families of fixed feedback matrices: dense, sparse, low-rank, coded, generated, shared.

A family is a text, ``<base>[:<number>][+<modifier>[:<number>[:<number>]]]...``. With K outputs and J units of the receiving
layer, bases are ``uniform`` (+-sqrt(6 / J), or ``uniform:a`` for +-a), ``kaiming`` (the same), ``nokland`` (+-1 / sqrt(J)),
``gaussian[:std]``, ``crafton`` and ``b1`` .. ``b7``. Modifiers::

    structure  +k:s          s outputs for each hidden unit
               +block:b      groups of b units wired to one group of b outputs
               +nm:n:m       n of every m consecutive outputs
               +density:p    round(p K J) entries anywhere
               +rank:r       a sum of r outer products
    values     +sign         one magnitude
               +ternary      one magnitude or 0
               +pow2         powers of two
    origin     +lfsr[:bits]  made by a shift register, not stored
    sharing    +shared       every layer reads the first columns of one matrix
"""

from __future__ import annotations

from fasim.feedback.coding import CODE_BITS
from fasim.feedback.dense import BASES
from fasim.feedback.family import Family
from fasim.feedback.generated import LFSR_TAPS, lfsr_integers, lfsr_state
from fasim.feedback.grammar import MODIFIERS
from fasim.feedback.parsing import parse

__all__ = [
    "BASES",
    "CODE_BITS",
    "LFSR_TAPS",
    "MODIFIERS",
    "Family",
    "lfsr_integers",
    "lfsr_state",
    "parse",
]
