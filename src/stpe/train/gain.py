"""A gain and how sure it is, from sums by video.

The interval is the delete-one jackknife over videos (Efron and Stein 1981) with Student's
quantile: windows of one video are not independent, and there are few videos, where a bootstrap
would be too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: 97.5 % quantiles of Student's distribution for 1 to 20 degrees of freedom.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)


@dataclass(frozen=True)
class Gain:
    """A gain and its 95 % interval over videos."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether there is a gain beyond the interval."""
        return self.low > 0


def gain(sums_KN: F64, of: Callable[[F64], float]) -> Gain:
    """The gain `of` K totals over N videos (two at least), with its interval."""
    total_K = sums_KN.sum(1)
    count = sums_KN.shape[1]
    value = of(total_K)
    without = np.array([of(total_K - sums_KN[:, n]) for n in range(count)])
    deviation = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    half = _STUDENT[min(count - 1, len(_STUDENT)) - 1] * float(deviation)
    return Gain(round(value, 4), round(value - half, 4), round(value + half, 4))
