"""Percentiles over a run of any length, in memory that stops growing.

Every value is kept until there are too many; then every other one is forgotten
and from there on only every second (fourth, …) is taken. So a short run is
exact, a long one is an even sample of all of it, and the largest value is
always exact. No estimate that would have to be explained.
"""

from __future__ import annotations

from array import array

import numpy as np

# 65 536 ticks are eleven minutes at 100 Hz, and half a megabyte.
MOST = 65_536


class Samples:
    """Values of one quantity."""

    def __init__(self, most: int = MOST) -> None:
        """Keeps at most `most` values, an even number."""
        self.largest = 0.0
        self.seen = 0
        self._most = most
        self._stride = 1
        self._kept = array("d")

    def __repr__(self) -> str:
        return f"<Samples seen={self.seen} kept={len(self._kept)}>"

    def add(self, value: float) -> None:
        """Adds one value."""
        if self.seen % self._stride == 0:
            self._kept.append(value)
        self.largest = value if self.seen == 0 else max(self.largest, value)
        self.seen += 1
        if len(self._kept) == self._most:
            self._kept = self._kept[::2]
            self._stride *= 2

    def percentile(self, percent: float) -> float | None:
        """Returns the value below which `percent` of the values lie; None without any."""
        return float(np.percentile(np.asarray(self._kept), percent)) if self._kept else None
