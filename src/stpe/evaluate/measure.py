"""What a scorer says about one signal: a figure that can be computed on any blocks of the video.

A video is cut into blocks of time. A figure is a function of how often each block counts, so the
same function gives the value (each once) and a bootstrap replicate (blocks drawn with
replacement). Frames next to each other resemble each other; blocks of a second hardly do.
Source: Kunsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Frames = NDArray[np.integer] | Sequence[int]
Numbers = NDArray[np.generic] | Sequence[float]
#: Blocks of a video of known length: weights_B to a figure; NaN where nothing counts.
Figure = Callable[[F64], float]
Better = Literal["higher", "lower"]

#: How a reason begins where the truth, not the dataset, has nothing to say.
NO_TRUTH = "the truth "


class NotScoredError(Exception):
    """A scorer's reason, one clause, for having nothing to say of a video."""


@dataclass(frozen=True, slots=True)
class Series:
    """Error over time, larger is worse: `error_N` at decoder frames `frames_N`, ascending."""

    frames_N: I64
    error_N: F64
    unit: str


@dataclass(frozen=True, slots=True)
class Belief:
    """Stored confidences in 0..1 and whether what they were about was right (or how nearly)."""

    confidence_N: F64
    correct_N: F64
    right: str  # what counts as right, in words


@dataclass(frozen=True)
class Measure:
    """One metric of one signal on one video.

    Attributes:
        signal: the column it judges, `table.column`. metric: its name in the field.
        unit: of the value; "1" for a share. better: which way is good.
        n: how many `counted` (such as "boxes") it rests on.
        figure: see above. baseline: the same of something simpler, called `baseline_name`.
        note: what a reader must know to read the value.
        series, belief: for plots, worst moments and calibration.
    """

    signal: str
    metric: str
    unit: str
    better: Better
    n: int
    counted: str
    figure: Figure
    baseline: Figure | None = None
    baseline_name: str = ""
    note: str = ""
    series: Series | None = None
    belief: Belief | None = None


@dataclass(frozen=True)
class Blocks:
    """`count` equal stretches of a video of `frames` frames."""

    frames: int
    count: int

    @classmethod
    def of(cls, frames: int, seconds: float) -> Blocks:
        """One a second, but at least 10 and at most 60, and never shorter than a frame."""
        return cls(frames, max(1, min(frames, max(10, min(60, round(seconds))))))

    def place(self, frames_N: Frames) -> I64:
        """Block of each decoder frame."""
        index = np.asarray(frames_N, np.int64)
        return np.clip(index * self.count // max(1, self.frames), 0, self.count - 1)

    def sums(self, frames_N: Frames, parts_NK: F64) -> F64:
        """Per-block sums B x K of what belongs to each frame."""
        parts = np.asarray(parts_NK, np.float64).reshape(len(frames_N), -1)
        total = np.zeros((self.count, parts.shape[1]))
        np.add.at(total, self.place(frames_N), parts)
        return total

    def of_sums(self, frames_N: Frames, parts_NK: F64, form: Callable[[F64], float]) -> Figure:
        """A figure that depends on sums over frames alone, such as F1 of counts."""
        total_BK = self.sums(frames_N, parts_NK)
        return lambda weights_B: form(weights_B @ total_BK)

    def ratio(
        self,
        frames_N: Frames,
        above_N: Numbers,
        below_N: Numbers,
    ) -> Figure:
        """Sum over sum."""
        parts = np.stack([np.asarray(above_N, np.float64), np.asarray(below_N, np.float64)], -1)
        return self.of_sums(frames_N, parts, lambda s: divide(s[0], s[1]))

    def mean(self, frames_N: Frames, values_N: Numbers) -> Figure:
        """Mean of samples."""
        return self.ratio(frames_N, values_N, np.ones(len(frames_N)))

    def median(self, frames_N: Frames, values_N: Numbers) -> Figure:
        """Median of samples."""
        values = np.asarray(values_N, np.float64)
        order = np.argsort(values, kind="stable")
        place, ordered = self.place(frames_N)[order], values[order]

        def figure(weights_B: F64) -> float:
            reached = np.cumsum(weights_B[place])
            if not len(reached) or reached[-1] <= 0:
                return float("nan")
            low = np.searchsorted(reached, reached[-1] / 2)
            high = np.searchsorted(reached, reached[-1] / 2, side="right")
            return float((ordered[low] + ordered[min(high, len(ordered) - 1)]) / 2)

        return figure

    def f1(self, frames_N: Frames, counts_N3: F64) -> Figure:
        """F1 of (right, false, missed) counts; NaN where there are none."""
        return self.of_sums(frames_N, counts_N3, lambda s: divide(2 * s[0], 2 * s[0] + s[1] + s[2]))


def divide(above: float, below: float) -> float:
    """The quotient; NaN where there is nothing to divide by."""
    return float(above / below) if below > 0 else float("nan")
