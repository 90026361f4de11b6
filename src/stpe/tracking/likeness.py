"""How much two looks say about being the same thing, learned from the video itself.

Looks are unit descriptors. What one thing's look does between moments is seen where it was followed
without doubt; what different things' looks do, in things that are there at once. Between the two a
linear discriminant with a common covariance (Fisher 1936) gives the log-likelihood ratio, so a
descriptor that tells nothing apart in this video has no say.

Shape legend: N looks, M pairs, K descriptors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: Looks differ in the log of one minus their cosine, less than this being none.
_NO_DIFFERENCE = 0.003
#: Of a video in which little has been seen yet, so many pairs of either kind are supposed, with
#: these means (the same thing, others) and this deviation.
_PRIOR_PAIRS = 5.0
_PRIOR = (-2.2, -0.9)
_PRIOR_SPREAD = 0.8
_MOST = 4.0  # a look alone never says more, in nats


@dataclass(frozen=True)
class Likeness:
    """Log-likelihood ratio of same to other: linear in the differences of K descriptors.

    Attributes:
        middle_K: difference at which nothing is said.
        slope_K: nats a unit of log difference, never of the wrong sign.
    """

    middle_K: F64
    slope_K: F64

    def ratio(self, difference_MK: F64) -> F64:
        """Log-likelihood ratio of each pair; an unknown difference (NaN) says nothing."""
        said = np.nan_to_num((self.middle_K - difference_MK) * self.slope_K)
        return np.asarray(np.clip(said.sum(axis=-1), -_MOST, _MOST))


def differences(cosine: F64) -> F64:
    """Log differences of looks with these cosines."""
    return np.asarray(np.log(np.maximum(1 - cosine, 0) + _NO_DIFFERENCE))


def learn(same_MK: F64, other_MK: F64) -> Likeness:
    """From log differences of pairs known to be the same thing, and of pairs known not to be."""
    kinds = same_MK.shape[1]
    slope = np.zeros(kinds)
    means, spread = [], np.zeros((kinds, kinds))
    for rows_MK, supposed in zip((same_MK, other_MK), _PRIOR, strict=True):
        rows = rows_MK[np.isfinite(rows_MK).all(axis=1)]
        total = len(rows) + _PRIOR_PAIRS
        mean = (rows.sum(axis=0) + _PRIOR_PAIRS * supposed) / total
        off = rows - mean
        prior = _PRIOR_PAIRS * _PRIOR_SPREAD**2 * np.eye(kinds)
        spread += (off.T @ off + prior) / total / 2
        means.append(mean)
    apart = means[1] - means[0]
    # One that does not separate, or only in company of the others, has no say.
    chosen = apart > 0
    while chosen.any():
        part = np.linalg.solve(spread[np.ix_(chosen, chosen)], apart[chosen])
        if (part > 0).all():
            slope[chosen] = part
            break
        chosen[np.flatnonzero(chosen)[part <= 0]] = False
    return Likeness((means[0] + means[1]) / 2, slope)
