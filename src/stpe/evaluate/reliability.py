"""Confidence against correctness: reliability bins and expected calibration error.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Statements whose confidence lies in [low, high): how many, and how many were right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """`bins` that hold anything, in order; `ece` the mean gap, weighted by count, in 0..1; `n`."""

    bins: tuple[Bin, ...]
    ece: float
    n: int


def reliability(
    confidence_N: NDArray[np.floating], correct_N: NDArray[np.generic], bins: int = 10
) -> Reliability:
    """How far stated confidence is from the share that was right, over equal-width bins.

    Args:
        confidence_N: in 0..1; pairs with a NaN are left out.
        correct_N: bool, or a degree of correctness in 0..1.

    >>> round(reliability(np.array([0.9, 0.9]), np.array([True, False])).ece, 3)
    0.4

    Raises:
        ValueError: the lengths differ, or a confidence is outside 0..1.
    """
    confidence = np.asarray(confidence_N, np.float64).ravel()
    correct = np.asarray(correct_N, np.float64).ravel()
    if confidence.shape != correct.shape:
        raise ValueError(f"{len(confidence)} confidences and {len(correct)} outcomes")
    known = np.isfinite(confidence) & np.isfinite(correct)
    confidence, correct = confidence[known], correct[known]
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-6):
        raise ValueError("confidences lie in 0..1")
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    found = []
    for i in np.unique(place):
        inside = place == i
        found.append(
            Bin(
                float(i / bins),
                float((i + 1) / bins),
                int(inside.sum()),
                float(confidence[inside].mean()),
                float(correct[inside].mean()),
            )
        )
    n = len(confidence)
    gap = sum(b.n * abs(b.confidence - b.accuracy) for b in found)
    return Reliability(tuple(found), gap / n if n else float("nan"), n)
