"""Camera trajectories: alignment, absolute and relative pose error.

Sources: Umeyama, "Least-squares estimation of transformation parameters between two point
patterns", PAMI 1991; Sturm et al., "A Benchmark for the Evaluation of RGB-D SLAM Systems", IROS
2012. Numbers agree with evo. Poses are camera-to-world 4x4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Statistics of a list of errors, in their unit."""

    rmse: float
    mean: float
    median: float
    max: float
    n: int

    @classmethod
    def of(cls, errors: F64) -> ErrorSummary:
        """Summarise; NaN throughout where there is none."""
        if not len(errors):
            nan = float("nan")
            return cls(nan, nan, nan, nan, 0)
        return cls(
            float(np.sqrt((errors**2).mean())),
            float(errors.mean()),
            float(np.median(errors)),
            float(errors.max()),
            len(errors),
        )


def match_times(
    times_N: F64, other_M: F64, tolerance_s: float = 0.01
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of entries nearest in time, each used once, no further apart than the tolerance.

    `times_N` should be the shorter list; both are in seconds and ascending.
    """
    nearest = np.abs(other_M[None] - times_N[:, None]).argmin(1)
    gap = np.abs(other_M[nearest] - times_N)
    taken: dict[int, int] = {}
    for i in np.flatnonzero(gap <= tolerance_s):
        j = int(nearest[i])
        if j not in taken or gap[i] < gap[taken[j]]:
            taken[j] = int(i)
    pairs = sorted((i, j) for j, i in taken.items())
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return first, second


def umeyama(source_N3: F64, target_N3: F64, with_scale: bool = False) -> tuple[F64, F64, float]:
    """(rotation 3x3, translation 3, scale) such that target is near scale * R @ source + t."""
    mean_s, mean_t = source_N3.mean(0), target_N3.mean(0)
    centred_s, centred_t = source_N3 - mean_s, target_N3 - mean_t
    u, d, vt = np.linalg.svd(centred_t.T @ centred_s / len(source_N3))
    sign = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        sign[-1] = -1
    rotation = u @ np.diag(sign) @ vt
    variance = (centred_s**2).sum(1).mean()
    scale = float((d * sign).sum() / variance) if with_scale and variance > 0 else 1.0
    return rotation, mean_t - scale * rotation @ mean_s, scale


def align(poses_N44: F64, truth_N44: F64, with_scale: bool = False) -> F64:
    """`poses` moved (and scaled) rigidly onto `truth` by their positions."""
    rotation, translation, scale = umeyama(poses_N44[:, :3, 3], truth_N44[:, :3, 3], with_scale)
    moved = poses_N44.copy()
    moved[:, :3, :3] = rotation @ poses_N44[:, :3, :3]
    moved[:, :3, 3] = scale * poses_N44[:, :3, 3] @ rotation.T + translation
    return moved


def absolute_errors(poses_N44: F64, truth_N44: F64) -> F64:
    """APE: distance of each position from the truth, in the truth's unit."""
    return np.asarray(np.linalg.norm(poses_N44[:, :3, 3] - truth_N44[:, :3, 3], axis=1))


def relative_errors(poses_N44: F64, truth_N44: F64, step: int = 1) -> tuple[F64, F64]:
    """RPE over consecutive pairs `step` frames apart: (translation, rotation in degrees)."""
    index = np.arange(0, len(poses_N44), step)
    return _pair_errors(poses_N44, truth_N44, index[:-1], index[1:])


def relative_errors_by_distance(poses_N44: F64, truth_N44: F64, distance: float) -> tuple[F64, F64]:
    """RPE over consecutive pairs at least `distance` apart along the estimated path."""
    steps = np.linalg.norm(np.diff(poses_N44[:, :3, 3], axis=0), axis=1)
    index, travelled = [0], 0.0
    for i, step in enumerate(steps, start=1):
        travelled += step
        if travelled >= distance:
            index.append(i)
            travelled = 0.0
    picked = np.array(index)
    return _pair_errors(poses_N44, truth_N44, picked[:-1], picked[1:])


def _pair_errors(
    poses: F64, truth: F64, start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[F64, F64]:
    moved = np.linalg.inv(poses[start]) @ poses[end]
    true = np.linalg.inv(truth[start]) @ truth[end]
    error = np.linalg.inv(true) @ moved
    return np.linalg.norm(error[:, :3, 3], axis=1), rotation_angle_deg(error[:, :3, :3])


def rotation_angle_deg(rotations_N33: F64) -> F64:
    """Angle of each rotation, degrees, accurate for small ones too."""
    skew = rotations_N33 - rotations_N33.transpose(0, 2, 1)
    sine = np.sqrt(skew[:, 2, 1] ** 2 + skew[:, 0, 2] ** 2 + skew[:, 1, 0] ** 2) / 2
    cosine = (np.trace(rotations_N33, axis1=1, axis2=2) - 1) / 2
    return np.asarray(np.degrees(np.arctan2(sine, cosine)))
