"""Which of the motions in a picture is the camera's, told by the picture's border.

A face that fills the frame moves most of it and is not the camera. What lies behind everything
shows on all sides, while a thing, however large, reaches the border in one or two places. So the
border is cut into segments, and a motion that is seen in few of them gives way to one that is seen
in many (Irani and Anandan 1998 look for the dominant plane; layers are fitted one after the other
as in Black and Anandan 1996).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField
from stpe.geometry.homography import HomographyFit, fit_homography, tolerance_px, transform

Bool = NDArray[np.bool_]
F64 = NDArray[np.float64]

_BAND = 0.12  # of each side's length, from the border inwards
_A_SIDE = 3  # segments along each side
_KNOWN = 0.05  # mean weight of a segment from which it tells anything
_ENOUGH = 0.6  # share of the telling segments from which a motion needs no rival
_MANY, _TIMES = 5, 1.5  # segments that a rival needs, and how many times those of the larger motion
_APART = 2.0  # tolerances off the larger motion from which a sample may belong to another


@dataclass(frozen=True)
class Surround:
    """How many segments of the border follow a motion, how many do not, and how many tell nothing
    for want of texture."""

    follow: int
    against: int
    unknown: int

    @property
    def coverage(self) -> float:
        """0..1: how far the border speaks for the motion; where it is silent, half a vote."""
        voices = self.follow + self.against + 0.5 * self.unknown
        return self.follow / voices if voices else 0.0


@dataclass(frozen=True)
class CameraPlane:
    """The homography of the camera's motion.

    Attributes:
        fit: the homography and the share of the field that follows it.
        surround: what the border says of it.
        field: the field without what moves before the camera, where that is the larger part.
        divided: whether the larger part of the picture moves otherwise.
    """

    fit: HomographyFit
    surround: Surround
    field: FlowField
    divided: bool


def fit_camera_plane(field: FlowField) -> CameraPlane | None:
    """The dominant homography, unless the border speaks for another; None where too little of the
    frame can be trusted."""
    largest = fit_homography(field)
    if largest is None:
        return None
    off = _tolerances_off(field, largest.matrix)
    around = surround(field, off < 1)
    found = CameraPlane(largest, around, field, False)
    if around.follow >= _ENOUGH * (around.follow + around.against):
        return found
    rest = replace(field, weight_N=np.where(off > _APART, field.weight_N, 0.0))
    rival = fit_homography(rest)
    if rival is None:
        return found
    rival_off = _tolerances_off(field, rival.matrix)
    its = surround(field, rival_off < 1)
    if its.follow < max(_MANY, _TIMES * around.follow):
        return found
    before = (off < 1) & (rival_off >= 1)
    share = float(field.weight_N[rival_off < 1].sum() / field.weight_N.sum())
    behind = replace(field, weight_N=np.where(before, 0.0, field.weight_N))
    return CameraPlane(HomographyFit(rival.matrix, share), its, behind, True)


def surround(field: FlowField, inlier_N: Bool) -> Surround:
    """What the segments of the border say of a motion that `inlier_N` samples follow."""
    segment_N = _segments(field)
    follow = against = unknown = 0
    for number in range(4 * _A_SIDE):
        here = segment_N == number
        weight = field.weight_N[here]
        if not here.any() or weight.mean() < _KNOWN:
            unknown += 1
        elif weight[inlier_N[here]].sum() >= 0.5 * weight.sum():
            follow += 1
        else:
            against += 1
    return Surround(follow, against, unknown)


def _segments(field: FlowField) -> NDArray[np.int64]:
    """The border segment of each sample, -1 inside; a corner belongs to the nearer side."""
    x, y = (field.points_N2 / np.array(field.size)).T
    gaps = np.stack([y, 1 - y, x, 1 - x])
    side = gaps.argmin(axis=0)
    along = np.where(side < 2, x, y)
    part = np.minimum((along * _A_SIDE).astype(np.int64), _A_SIDE - 1)
    return np.where(gaps.min(axis=0) < _BAND, side * _A_SIDE + part, -1)


def _tolerances_off(field: FlowField, matrix: F64) -> F64:
    """Distance of each sample from a motion, in tolerances; infinite where it has none."""
    model = transform(matrix, field.points_N2) - field.points_N2
    off = np.linalg.norm(field.flow_N2 - model, axis=1) / tolerance_px(field)
    return np.where(np.isfinite(off), off, np.inf)
