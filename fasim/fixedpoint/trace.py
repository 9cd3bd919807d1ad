"""How often each requantisation point overflowed: no overflow passes silently."""

from __future__ import annotations

from dataclasses import dataclass, field

from fasim.fixedpoint.statistics import TensorStatistics


@dataclass
class SiteCount:
    """Casts at one site: how many elements, and how many of them saturated or wrapped."""

    elements: int = 0
    saturations: int = 0
    wraps: int = 0

    def __add__(self, other: SiteCount) -> SiteCount:
        return SiteCount(
            self.elements + other.elements,
            self.saturations + other.saturations,
            self.wraps + other.wraps,
        )


@dataclass
class Trace:
    """Counts by site name, empty for a float run; statistics by tensor where a program observes."""

    sites: dict[str, SiteCount] = field(default_factory=dict)
    tensors: dict[str, TensorStatistics] = field(default_factory=dict)

    def add(self, site: str, count: SiteCount) -> None:
        """Add counts of a site."""
        self.sites[site] = self.sites.get(site, SiteCount()) + count

    def update(self, other: Trace) -> None:
        """Add all counts of another trace."""
        for site, count in other.sites.items():
            self.add(site, count)
        for name, found in other.tensors.items():
            self.tensors[name] = self.tensors[name] + found if name in self.tensors else found

    @property
    def total(self) -> SiteCount:
        """Sum over all sites."""
        return sum(self.sites.values(), SiteCount())
