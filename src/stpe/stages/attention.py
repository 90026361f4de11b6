"""Temporal attention without parameters: one vector for a span of frames.

Shape legend: N frames, D embedding dimension.

Let x_i be unit embeddings at times t_i seconds, and d_i the seconds frame i stands for. Frame i
attends to frame j, within WINDOW_S, with weight

    a_ij = exp(l_ij) / sum_k exp(l_ik)
    l_ij = sqrt(D) cos(x_i, x_j) - |t_i - t_j| / DECAY_S + ln d_j

- sqrt(D) cos is the scaled dot product q.k / sqrt(D) of Vaswani et al. (2017) for q = k =
  sqrt(D) x, the length that layer-normalised vectors have; nothing is left to choose.
- The decay in seconds is the linear bias of ALiBi (Press et al., 2022) with a slope per second
  instead of per token, so that the result does not depend on the sampling rate.
- ln d_j makes the sum over frames an integral over time: a moment sampled twice as densely does
  not weigh twice.

The pooled vector is the mean over time of what the frames see, normalised:

    p = sum_i d_i sum_j a_ij x_j,   result p / |p|

A frame that resembles its neighbours is seen by many and weighs more than a passing outlier (a
flash, a blurred frame). Limits: one frame gives itself; equal frames give that frame; and as
cosines become equal only time is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DECAY_S = 2.0
WINDOW_S = 20.0

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def durations(times_N: F64) -> F64:
    """Seconds each frame stands for: half the way to either neighbour; the ends mirror theirs.

    >>> durations(np.array([0.0, 1.0, 3.0])).tolist()
    [1.0, 1.5, 2.0]
    """
    if len(times_N) < 2:
        return np.ones(len(times_N))
    gaps = np.maximum(np.diff(times_N), 1e-6)
    return np.asarray((np.r_[gaps[0], gaps] + np.r_[gaps, gaps[-1]]) / 2)


def attention_pool(embeddings_ND: F32, times_N: F64) -> F32 | None:
    """The pooled unit vector (float32, D) of unit rows in time order; None without rows.

    Memory is that of the rows: weights are formed one frame at a time.
    """
    count, dimension = embeddings_ND.shape
    if count == 0:
        return None
    x_ND = embeddings_ND.astype(np.float32, copy=False)
    seconds_N = durations(times_N)
    first_N = np.searchsorted(times_N, times_N - WINDOW_S, "left")
    end_N = np.searchsorted(times_N, times_N + WINDOW_S, "right")
    weight_N = np.zeros(count)
    for i in range(count):
        near = slice(int(first_N[i]), int(end_N[i]))
        logits = np.sqrt(dimension) * (x_ND[near] @ x_ND[i]).astype(np.float64)
        logits += np.log(seconds_N[near]) - np.abs(times_N[near] - times_N[i]) / DECAY_S
        attention = np.exp(logits - logits.max())
        weight_N[near] += seconds_N[i] * attention / attention.sum()
    pooled_D = weight_N @ x_ND
    length = float(np.linalg.norm(pooled_D))
    return (pooled_D / length).astype(np.float32) if length > 0 else None
