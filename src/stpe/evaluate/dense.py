"""Dense fields: optical flow and depth.

Sources: Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011 (EPE);
Menze and Geiger, "Object Scene Flow for Autonomous Vehicles", CVPR 2015 (outliers); Eigen et al.,
"Depth Map Prediction from a Single Image", NIPS 2014 (AbsRel, delta).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FlowScore:
    """`epe` mean end-point error in pixels; `outliers` share above 3 px and above 5 % of the true
    length; `n` pixels scored."""

    epe: float
    outliers: float
    n: int


def score_flow(truth_HW2: F32, predicted_HW2: F32, valid_HW: NDArray[np.bool_]) -> FlowScore:
    """Score one field where `valid_HW`."""
    truth = truth_HW2[valid_HW].astype(np.float64)
    error = np.linalg.norm(truth - predicted_HW2[valid_HW], axis=-1)
    if not len(error):
        return FlowScore(float("nan"), float("nan"), 0)
    wrong = (error > 3) & (error > 0.05 * np.linalg.norm(truth, axis=-1))
    return FlowScore(float(error.mean()), float(wrong.mean()), len(error))


@dataclass(frozen=True, slots=True)
class DepthScore:
    """`abs_rel` mean |error| / truth; `rmse` in the truth's unit; `delta1` share within a factor
    1.25; `rank` Spearman correlation with the truth; `n` pixels scored."""

    abs_rel: float
    rmse: float
    delta1: float
    rank: float
    n: int


def score_depth(
    truth_HW: F32, predicted_HW: F32, valid_HW: NDArray[np.bool_], relative: bool
) -> DepthScore:
    """Score one map where `valid_HW` and both are positive.

    A `relative` prediction is first scaled by the median ratio to the truth, as is usual.
    """
    ok = valid_HW & (truth_HW > 0) & (predicted_HW > 0)
    truth, predicted = truth_HW[ok].astype(np.float64), predicted_HW[ok].astype(np.float64)
    if not len(truth):
        nan = float("nan")
        return DepthScore(nan, nan, nan, nan, 0)
    if relative:
        predicted = predicted * np.median(truth / predicted)
    error = predicted - truth
    ratio = np.maximum(predicted / truth, truth / predicted)
    return DepthScore(
        float((np.abs(error) / truth).mean()),
        float(np.sqrt((error**2).mean())),
        float((ratio < 1.25).mean()),
        _spearman(truth, predicted),
        len(truth),
    )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    ranks = [np.unique(x, return_inverse=True, return_counts=True)[1:] for x in (a, b)]
    mean_ranks = [(np.cumsum(n) - (n + 1) / 2)[inverse] for inverse, n in ranks]
    if any(r.std() == 0 for r in mean_ranks):
        return float("nan")
    return float(np.corrcoef(mean_ranks[0], mean_ranks[1])[0, 1])


def scale_and_shift(
    truth_N: NDArray[np.float64], predicted_N: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`predicted` with the positive scale and the shift of the least squared relative error.

    Where no positive scale fits, the truth's own constant of least relative error is returned: a
    map that runs the wrong way says nothing. Source of the convention: Ranftl et al., "Towards
    Robust Monocular Depth Estimation", PAMI 2022; here in depth, weighted by 1 / truth squared,
    because AbsRel is what is reported.
    """
    weight = 1.0 / truth_N
    rows = np.stack([predicted_N * weight, weight], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(rows, np.ones(len(truth_N)), rcond=None)
    if not scale > 0:
        scale, shift = 0.0, weight.sum() / (weight**2).sum()
    return np.asarray(np.maximum(scale * predicted_N + shift, 1e-3 * truth_N.min()))
