"""A family of fixed feedback matrices: what its text says, how large it is, and its draws.

>>> from fasim.feedback import parse
>>> family = parse("crafton+k:1+sign")
>>> family.storage((10, 500)), family.encoding, family.arrays((10, 500))
('ell', 'sign', {'': (500, 1), 'index': (500, 1)})
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fasim.errors import ConfigError
from fasim.feedback import coding, dense, generated, sparse
from fasim.feedback.grammar import BITS, MODIFIERS, number_text
from fasim.rng import stream


@dataclass(frozen=True)
class Family:
    """A family of feedback matrices, made by :func:`fasim.feedback.parse`.

    Methods take the shape of a matrix: (K, J) for direct feedback, or that of the weights it stands for, of which the
    first axis counts as K and all others as J. With ``shared``, `widest` is the J of the widest hidden layer (0: this
    one); other families ignore it.

    Parameters
    ----------
    base : str
        One of :data:`fasim.feedback.dense.BASES`.
    number : float or None
        After the base's colon.
    structure : str
        ``k``, ``block``, ``nm``, ``density``, ``rank``, or empty.
    sizes : tuple of float
        Numbers of the structure.
    encoding : str
        ``dense`` (values as drawn), ``sign``, ``ternary`` or ``pow2``.
    generated_bits : int
        Bits of an LFSR for each element; 0 where the matrix is stored.
    shared : bool
        All layers read the first columns of one matrix.
    factor : float
        All values times this.
    """

    base: str
    number: float | None = None
    structure: str = ""
    sizes: tuple[float, ...] = ()
    encoding: str = "dense"
    generated_bits: int = 0
    shared: bool = False
    factor: float = 1.0

    @property
    def text(self) -> str:
        """The text that :func:`fasim.feedback.parse` reads as this family, modifiers in the order of the grammar."""
        words = [self.base if self.number is None else f"{self.base}:{number_text(self.number)}"]
        words += [":".join((name, *map(number_text, numbers))) for name, numbers in self._modifiers()]
        return "+".join(words)

    @property
    def source(self) -> str:
        """Where it is from - a paper, an original code, or inferred: a line for the base and for each modifier."""
        lines = [f"{self.base}: {dense.BASES[self.base].source}"]
        lines += [f"+{name}: {MODIFIERS[name].source}" for name, _ in self._modifiers()]
        return "\n".join(lines)

    @property
    def generated(self) -> bool:
        """Whether an LFSR makes the values, so that none is stored."""
        return self.generated_bits > 0

    def _modifiers(self) -> list[tuple[str, tuple[float, ...]]]:
        given = [(self.structure, self.sizes), (self.encoding if self.encoding != "dense" else "", ())]
        if self.generated:
            given.append(("lfsr", () if self.generated_bits == BITS else (self.generated_bits,)))
        if self.factor != 1:
            given.append(("scale", (self.factor,)))
        return [(name, numbers) for name, numbers in (*given, ("shared" if self.shared else "", ())) if name]

    # --- sizes -----------------------------------------------------------------------------------------------------

    def bound(self, shape: tuple[int, ...], *, widest: int = 0) -> float:
        """Return the largest magnitude of a stored value, from which a fixed-point exponent follows.

        Gaussian values reach 4 standard deviations and are clipped there. Of a low-rank matrix it is the largest
        magnitude of the two factors (4 expected deviations, clipped), not of their product.

        Raises
        ------
        ConfigError
            If the family cannot have this shape.
        """
        storage = self.storage(shape)
        outputs, units = self._drawn_shape(shape, widest)
        scale = self._scale(outputs, units)
        if storage == "low_rank":
            return sparse.factor_limit(int(self.sizes[0]), self._std(scale))
        return coding.code_limit(self.encoding, self.base, dense.rms_of(self.base, scale), self._limit(scale))

    def storage(self, shape: tuple[int, ...]) -> str:
        """Return ``dense``, ``ell``, ``csr`` or ``low_rank``; full density is ``dense``.

        Raises
        ------
        ConfigError
            If the family cannot have this shape.
        """
        outputs, units = _matrix_shape(shape)
        if not self.structure:
            if dense.BASES[self.base].ones == "sparse":
                self._check_count(dense.count_ones(self.base, self.number, outputs, units), outputs, units)
            return "dense"
        if len(shape) != 2:
            raise ConfigError(
                f"feedback {self.text!r}: sparse feedback in the shape of convolution weights {shape} is not defined, take "
                "a direct rule (feedback from the output) or a base without structure"
            )
        if self.structure == "rank":
            if not self.sizes[0] <= min(outputs, units) > 1:
                raise ConfigError(
                    f"feedback {self.text!r}: a matrix of {outputs} x {units} has no rank {self.sizes[0]:g} to reduce to, "
                    f"take at most {min(outputs, units)} and two outputs and units or more"
                )
            return "low_rank"
        if self.structure == "density":
            entries = self._entries(outputs, units)
            self._check_count(entries, outputs, units)
            return "dense" if entries == outputs * units else "csr"
        return "dense" if self._per_unit(outputs) == outputs else "ell"

    def arrays(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that hold a matrix, by suffix.

        dense ``""``: as given; ell ``""`` and ``index``: (J, k); csr ``""`` and ``index``: (nnz,), ``start``: (J + 1,);
        low_rank ``in``: (K, r), ``out``: (r, J).

        Raises
        ------
        ConfigError
            If the family cannot have this shape.
        """
        storage = self.storage(shape)
        outputs, units = _matrix_shape(shape)
        if storage == "dense":
            return {"": shape}
        if storage == "ell":
            width = self._per_unit(outputs)
            return {"": (units, width), "index": (units, width)}
        if storage == "csr":
            entries = self._entries(outputs, units)
            return {"": (entries,), "index": (entries,), "start": (units + 1,)}
        rank = int(self.sizes[0])
        return {"in": (outputs, rank), "out": (rank, units)}

    # --- draws -----------------------------------------------------------------------------------------------------

    def draw(self, layer: int, shape: tuple[int, ...], seed: int, *, widest: int = 0) -> dict[str, np.ndarray]:
        """Draw the matrix into a layer.

        The stream is keyed by the receiving layer alone (by 0 if shared): with one hidden layer FA and DFA draw the same
        matrix. Values come first, (K, J) row by row; then the places of a mask.

        Parameters
        ----------
        layer : int
        shape : tuple of int
        seed : int
            Of the run.
        widest : int
            J of the widest hidden layer, for shared feedback.

        Returns
        -------
        dict of str to ndarray
            By the suffixes and with the shapes of `arrays`; values float64, ``index`` and ``start`` int32.

        Raises
        ------
        ConfigError
            If the family cannot have this shape, or `widest` is less than J.
        """
        storage = self.storage(shape)
        units = _matrix_shape(shape)[1]
        outputs, columns = self._drawn_shape(shape, widest)
        stream_of = 0 if self.shared else layer
        random = stream(seed, "feedback", stream_of)
        scale = self._scale(outputs, columns)
        if storage == "low_rank":
            factors = sparse.low_rank(random, int(self.sizes[0]), self._std(scale), outputs, columns)
            return {"in": factors["in"], "out": np.ascontiguousarray(factors["out"][:, :units])}
        if self.generated:
            state = generated.lfsr_state(seed, stream_of)
            values = generated.generate(state, self.generated_bits, scale, outputs, columns)
        else:
            values = dense.draw_base(random, self.base, self.number, scale, outputs, columns)
        values = coding.code(values, self.encoding, self.base, dense.rms_of(self.base, scale), self._limit(scale))
        if storage == "dense":
            return {"": np.ascontiguousarray(values[:, :units]).reshape(shape)}
        if storage == "ell":
            index = sparse.draw_index(random, self.structure, self.sizes, outputs, columns)
            return sparse.ell(values[:, :units], index[:units])
        return sparse.csr(values, sparse.draw_places(random, self._entries(outputs, units), outputs, units))

    def dense_matrix(self, layer: int, shape: tuple[int, ...], seed: int, *, widest: int = 0) -> np.ndarray:
        """Return the matrix of `draw` written out, float64[K, J]: what a run computes with, for checks and diagnostics."""
        return sparse.write_out(self.draw(layer, shape, seed, widest=widest), self.storage(shape), *_matrix_shape(shape))

    # --- parts -----------------------------------------------------------------------------------------------------

    def _per_unit(self, outputs: int) -> int:
        return sparse.outputs_per_unit(self.structure, self.sizes, outputs)

    def _entries(self, outputs: int, units: int) -> int:
        return round(self.sizes[0] * outputs * units)

    def _check_count(self, count: int, outputs: int, units: int) -> None:
        if count == 0:
            raise ConfigError(
                f"feedback {self.text!r}: no entry of {outputs} x {units} is left, take a density above "
                f"{0.5 / (outputs * units):.2g}"
            )

    def _drawn_shape(self, shape: tuple[int, ...], widest: int) -> tuple[int, int]:
        """Return the shape of the matrix that is drawn, of which a layer of a shared family takes its columns."""
        outputs, units = _matrix_shape(shape)
        if not self.shared or not widest:
            return outputs, units
        if widest < units:
            raise ConfigError(f"feedback {self.text!r}: the widest layer has {widest} units, but this one {units}")
        return outputs, widest

    def _scale(self, outputs: int, units: int) -> float:
        per_unit = self._per_unit(outputs) if self.structure == "k" else None
        return self.factor * dense.scale_of(self.base, self.number, outputs, units, per_unit)

    def _limit(self, scale: float) -> float:
        """Return the largest magnitude before coding."""
        limit = dense.limit_of(self.base, scale)
        return limit * (1 - math.ldexp(1.0, -self.generated_bits)) if self.generated else limit

    def _std(self, scale: float) -> float:
        """Return the standard deviation of a low-rank matrix; Crafton's code takes the bound for it."""
        return scale if self.base == "crafton" else dense.rms_of(self.base, scale)


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], math.prod(shape[1:])
