"""A battery of checks that a rule of anybody's must pass, for use in a test suite.

>>> from fasim.testing import check_rule
>>> check_rule("dfa").raise_if_failed()

Each check is a function whose docstring says which bug it catches; :data:`CHECKS` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from fasim import rules
from fasim.errors import ConfigError, unknown_name
from fasim.network import Network
from fasim.rules import Rule
from fasim.testing import runs, signals
from fasim.testing.bench import Bench, Verdict

__all__ = ["CHECKS", "Bench", "Outcome", "Report", "Verdict", "check_rule"]

CHECKS: dict[str, Callable[[Bench], Verdict]] = {
    check.__name__.replace("_", " "): check
    for check in (
        signals.gradient_scale,
        signals.output_layer_is_exact,
        signals.not_silently_bp,
        signals.values_before_the_update,
        signals.samples_do_not_mix,
        signals.locks,
        runs.orders_agree,
        runs.deterministic,
        runs.all_counted,
        runs.backends_agree,
        runs.frozen_layers_stay,
        runs.other_networks,
        runs.fixed_point,
        runs.learns,
    )
}


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Parameters
    ----------
    check : str
        A key of :data:`CHECKS`.
    passed : bool
    line : str
        One line: what holds, or what does not.
    """

    check: str
    passed: bool
    line: str


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks of a rule; as text a table."""

    rule: str
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [outcome.check for outcome in self.outcomes if not outcome.passed]

    def __str__(self) -> str:
        width = max((len(outcome.check) for outcome in self.outcomes), default=0)
        passed = len(self.outcomes) - len(self.failed)
        return "\n".join(
            [
                f"rule {self.rule}: {passed} of {len(self.outcomes)} checks passed",
                *(f"{'pass' if o.passed else 'FAIL'}  {o.check.ljust(width)}  {o.line}" for o in self.outcomes),
            ]
        )

    def raise_if_failed(self) -> None:
        """Raise the table as an AssertionError if a check failed.

        Raises
        ------
        AssertionError
        """
        if self.failed:
            raise AssertionError(str(self))


def check_rule(
    rule: Rule | str,
    *,
    network: Network | str = "6-5-4-3",
    seed: int = 0,
    reads_weights: bool | None = None,
    skip: Collection[str] = (),
) -> Report:
    """Run the battery on a rule; it takes a second or two.

    Parameters
    ----------
    rule : Rule or str
        A rule of one's own, or the name of one.
    network : Network or str
        Dense, at least two hidden layers, no batch normalisation and no dropout: with one hidden layer many rules are the
        same. Other layers have a check of their own.
    seed : int
        Of weights, feedback and samples.
    reads_weights : bool, optional
        What the rule claims: whether its signals read the weights of the network. None: it is only reported.
    skip : collection of str
        Checks that do not apply, such as ``samples do not mix`` for a rule that means to mix them.

    Returns
    -------
    Report
        Print it, or call :meth:`Report.raise_if_failed` in a test.

    Raises
    ------
    ConfigError
        If a name is unknown or the network does not fit. What a rule itself raises is an outcome.
    """
    for name in skip:
        if name not in CHECKS:
            raise ConfigError(unknown_name("check", name, CHECKS))
    rule = rules.get(rule)
    network = Network.parse(network) if isinstance(network, str) else network
    bench = Bench(rule, network, seed, reads_weights)
    outcomes = (Outcome(name, *_verdict(check, bench)) for name, check in CHECKS.items() if name not in skip)
    return Report(rule.name, tuple(outcomes))


def _verdict(check: Callable[[Bench], Verdict], bench: Bench) -> Verdict:
    """Return what a check says; an exception of the rule's is a failure in one line."""
    try:
        return check(bench)
    except Exception as failure:  # noqa: BLE001 - a rule of anybody's may raise anything
        return Verdict(False, " ".join(f"{type(failure).__name__}: {failure}".split()))
