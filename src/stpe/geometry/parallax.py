"""Depth from the flow that a camera's translation causes, and the length of each step.

One interval's rotation and direction of translation make the flow along each epipolar line an
inverse depth in units of that interval's unknown step. Depths of the intervals before, carried
along with the picture, say how long the step was, and the two are averaged by their variances
(Matthies, Kanade and Szeliski, "Kalman filter-based algorithms for estimating depth from image
sequences", IJCV 1989). The unit is the median depth where the path begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField
from stpe.geometry.intrinsics import Intrinsics
from stpe.geometry.rotation import matrix_of

F64 = NDArray[np.float64]

#: Deviation of flow: pixels of the grid it was computed on, a share of what translation adds, and a
#: share of all of it, as a turn's own error and the lens's grow with it.
_NOISE, _NOISE_SHARE, _FLOW_SHARE = 0.4, 0.1, 0.06
#: Deviations off its epipolar line, or from the depth known before, up to which a sample counts.
_OFF_LINE, _OFF_DEPTH = 2.5, 3.0
_LEAST_WEIGHT = 0.1
#: Share of its knowledge that a depth keeps from one interval to the next.
_KEPT = 0.6
#: Pixels of the grid that a turn must move a cell to tell whether it is fixed to the screen, the
#: share of that up to which it did not follow, how much one interval weighs, and the score from
#: which a cell is fixed.
_TOLD_PX, _STUCK_SHARE, _FIXED_WEIGHT, _FIXED = 2.0, 0.6, 0.05, 0.1
#: Relative deviation from which a depth is no longer one.
LEAST_KNOWN = 0.5
_LEAST_SAMPLES = 40
#: A step is at most this many times the one before, or its inverse: depths that say more are wrong.
_LARGEST_CHANGE = 8.0


@dataclass(frozen=True)
class InverseDepth:
    """Inverse depth of each cell of an h x w grid, and what is known of it.

    Attributes:
        value_N: 1 / depth along the optical axis; 0 where unknown.
        information_N: 1 / variance of it; 0 where unknown.
        shape: (h, w).
    """

    value_N: F64
    information_N: F64
    shape: tuple[int, int]

    @property
    def relative_std(self) -> F64:
        """Standard deviation over value; infinite where unknown."""
        known = (self.information_N > 0) & (self.value_N > 0)
        spread = np.full(len(self.value_N), np.inf)
        spread[known] = 1 / (np.sqrt(self.information_N[known]) * self.value_N[known])
        return spread

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which cells have a depth."""
        return self.relative_std < LEAST_KNOWN

    def without(self, cells_N: NDArray[np.bool_]) -> InverseDepth:
        """The same with some cells unknown."""
        return InverseDepth(
            np.where(cells_N, 0.0, self.value_N),
            np.where(cells_N, 0.0, self.information_N),
            self.shape,
        )

    def scaled(self, factor: float) -> InverseDepth:
        """The same scene with all lengths divided by `factor`."""
        return InverseDepth(self.value_N * factor, self.information_N / factor**2, self.shape)


@dataclass(frozen=True)
class Step:
    """Camera motion of one interval up to its length.

    Attributes:
        turn: 3x3, turns rays of the earlier camera into the later.
        pull_3: unit direction in which translation moves points, in the later camera; None
            without translation.
        rays_N2: the cells at depth one, earlier. after_N2: where flow takes them, later.
        turned_N3: the earlier rays in the later camera.
    """

    turn: F64
    pull_3: F64 | None
    rays_N2: F64
    after_N2: F64
    turned_N3: F64

    @classmethod
    def of(
        cls, field: FlowField, camera: Intrinsics, rotation_rad: F64, move_3: F64 | None
    ) -> Step:
        """From a `motion` row: rotation vector and direction in the earlier camera's frame."""
        turn = matrix_of(rotation_rad).T
        rays = camera.rays(field.points_N2)
        return cls(
            turn,
            None if move_3 is None else -turn @ move_3,
            rays,
            camera.rays(field.points_N2 + field.flow_N2),
            rays @ turn[:, :2].T + turn[:, 2],
        )


def triangulate(field: FlowField, camera: Intrinsics, step: Step) -> InverseDepth:
    """Inverse depth at the earlier frame in units of one over the step's length.

    With a point's ray r turned into the later camera and pulled by t, its later place p holds
    p (r_z + d t_z) = r_xy + d t_xy, which is linear in the inverse depth d.
    """
    nothing = np.zeros(len(field.weight_N))
    if step.pull_3 is None:
        return InverseDepth(nothing, nothing, field.shape)
    depth = np.maximum(step.turned_N3[:, 2:], 1e-3)
    lever = step.pull_3[:2] - step.after_N2 * step.pull_3[2]
    rest = step.after_N2 * depth - step.turned_N3[:, :2]
    size = np.maximum((lever**2).sum(axis=1), 1e-12)
    value = (lever * rest).sum(axis=1) / size
    across = (lever[:, 0] * rest[:, 1] - lever[:, 1] * rest[:, 0]) / np.sqrt(size)
    noise = np.hypot(
        _NOISE * field.unit / min(camera.fx, camera.fy),
        _NOISE_SHARE * np.linalg.norm(rest, axis=1),
    )
    good = (field.weight_N > _LEAST_WEIGHT) & (np.abs(across) < _OFF_LINE * noise)
    # What lies behind the camera by more than noise is moving, or wrong.
    good &= value > -2 * noise / np.sqrt(size)
    noise = np.hypot(noise, _FLOW_SHARE * np.linalg.norm(step.after_N2 - step.rays_N2, axis=1))
    information = np.where(good, field.weight_N * size / noise**2, 0.0)
    return InverseDepth(np.where(good, value, 0.0), information, field.shape)


def step_length(measured: InverseDepth, known: InverseDepth) -> float | None:
    """Length of the step by which a depth was measured, in the unit of the depth known before.

    The weighted median of their ratio; None where too few cells have both.
    """
    both = measured.known & known.known
    if both.sum() < _LEAST_SAMPLES:
        return None
    ratio = measured.value_N[both] / known.value_N[both]
    spread = np.hypot(measured.relative_std[both], known.relative_std[both])
    found = _weighted_median(ratio, 1 / spread**2)
    return found if found > 0 else None


def fuse(measured: InverseDepth, known: InverseDepth) -> InverseDepth:
    """Both in one unit, averaged; where they contradict, the later of the two is believed."""
    gap = np.abs(measured.value_N - known.value_N)
    with np.errstate(divide="ignore"):
        std = np.sqrt(1 / measured.information_N + 1 / known.information_N)
    trust = np.where(gap < _OFF_DEPTH * std, 1.0, 0.1) * known.information_N
    information = measured.information_N + trust
    total = measured.value_N * measured.information_N + known.value_N * trust
    value = np.divide(total, information, out=np.zeros_like(total), where=information > 0)
    return InverseDepth(np.maximum(value, 0.0), information, known.shape)


def carry(known: InverseDepth, field: FlowField, step: Step, length: float) -> InverseDepth:
    """The depths of the earlier frame as the later camera sees them, on the later frame's cells.

    Cells that nothing flows into, and cells that two surfaces flow into, end unknown.
    """
    pull = np.zeros(3) if step.pull_3 is None else step.pull_3 * length
    # r_z + d t_z is the later depth over the earlier one.
    change = np.maximum(step.turned_N3[:, 2] + known.value_N * pull[2], 0.05)
    value = known.value_N / change
    information = _KEPT * known.information_N * change**4
    h, w = known.shape
    cell = np.array([field.size[0] / w, field.size[1] / h])
    flow = (field.flow_N2 / cell).reshape(h, w, 2).astype(np.float32)
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    # Where each later cell came from: the flow found by following flow back once and again.
    back = flow
    for _ in range(3):
        back = _sampled(flow, x - back[..., 0], y - back[..., 1])
    from_x, from_y = x - back[..., 0], y - back[..., 1]
    both = np.stack([value * information, information], axis=1).reshape(h, w, 2)
    inside = (from_x > -0.5) & (from_x < w - 0.5) & (from_y > -0.5) & (from_y < h - 0.5)
    found = _sampled(both.astype(np.float32), from_x, from_y) * inside[..., None]
    total, information = found.reshape(-1, 2).astype(np.float64).T
    value = np.divide(total, information, out=np.zeros_like(total), where=information > 1e-9)
    return InverseDepth(value, np.where(information > 1e-9, information, 0.0), known.shape)


def _stuck(
    before_N: F64 | None, field: FlowField, camera: Intrinsics, step: Step, measured: InverseDepth
) -> F64 | None:
    """`Follower.stuck_N` after an interval: a turn moves all of a scene, near or far.

    What a camera turns about while it moves past stays in place too, but at a depth that fits.
    """
    focal = np.array([camera.fx, camera.fy]) / field.unit
    turned_N2 = step.turned_N3[:, :2] / np.maximum(step.turned_N3[:, 2:], 1e-3)
    wanted_N = np.linalg.norm((turned_N2 - step.rays_N2) * focal, axis=1)
    moved_N = np.linalg.norm((step.after_N2 - step.rays_N2) * focal, axis=1)
    told = (wanted_N > _TOLD_PX) & (field.weight_N > _LEAST_WEIGHT)
    if not told.any():
        return before_N
    if before_N is None or len(before_N) != len(told):
        before_N = np.zeros(len(told))
    stuck = (moved_N < _STUCK_SHARE * wanted_N) & (measured.information_N == 0)
    return np.where(told, before_N + _FIXED_WEIGHT * (stuck - before_N), before_N)


def _sampled(image: NDArray[np.float32], x: F64, y: F64) -> NDArray[np.float32]:
    return np.asarray(
        cv2.remap(
            image,
            x.astype(np.float32),
            y.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def _weighted_median(values: F64, weights: F64) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


@dataclass(frozen=True)
class Follower:
    """What is known as the camera moves on: depth in sight, and the last step's speed.

    Attributes:
        depth: None where nothing is known yet.
        speed: length of the last step that could be measured, a second; None before any.
        stuck_N: of each cell the recent share of turns that it did not follow, such as a weapon
            or a display, which is no part of the scene; None before any turn.
    """

    depth: InverseDepth | None = None
    speed: float | None = None
    stuck_N: F64 | None = None

    def lost(self) -> Follower:
        """With no depth in sight; what is fixed to the screen stays."""
        return Follower(stuck_N=self.stuck_N)

    def advanced(
        self,
        field: FlowField,
        camera: Intrinsics,
        rotation_rad: F64,
        move_3: F64 | None,
        seconds: float,
        length: float | None = None,
    ) -> tuple[Follower, float | None]:
        """After one interval, and how far the camera moved in it (None: not known).

        Args:
            field: flow of the interval.
            camera: intrinsics.
            rotation_rad, move_3: as `Step.of`.
            seconds: of the interval.
            length: of the step, where it is known from elsewhere.
        """
        step = Step.of(field, camera, rotation_rad, move_3)
        measured = triangulate(field, camera, step)
        stuck_N = _stuck(self.stuck_N, field, camera, step, measured)
        fixed = np.zeros(len(field.weight_N), bool) if stuck_N is None else stuck_N > _FIXED
        if move_3 is None:
            if self.depth is None:
                return Follower(None, self.speed, stuck_N), 0.0
            depth = carry(self.depth, field, step, 0.0).without(fixed)
            return Follower(depth, self.speed, stuck_N), 0.0
        measured = measured.without(fixed)
        known = measured.known
        if length is None:
            length = self._length(measured, seconds)
        if length is None:
            if known.sum() < _LEAST_SAMPLES:
                return Follower(stuck_N=stuck_N), None
            length = float(np.median(measured.value_N[known]))
        depth = measured.scaled(1 / length)
        if self.depth is not None:
            depth = fuse(depth, self.depth)
        depth = carry(depth, field, step, length).without(fixed)
        return Follower(depth, length / seconds, stuck_N), length

    def _length(self, measured: InverseDepth, seconds: float) -> float | None:
        if self.depth is None:
            return None
        length = step_length(measured, self.depth)
        if self.speed is None:
            return length
        usual = self.speed * seconds
        if length is None:
            return usual
        return float(np.clip(length, usual / _LARGEST_CHANGE, usual * _LARGEST_CHANGE))
