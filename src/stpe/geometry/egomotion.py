"""Camera rotation and translation direction from a flow field and intrinsics.

For every trial direction of translation the rotation that best explains the flow across the
epipolar lines is a small linear problem (Heeger and Jepson 1992; Bruss and Horn 1983). The best
trials are refined by Gauss-Newton on the distance to the epipolar line with Cauchy weights, and
kept only if the flow demands a translation rather than a rotation or a rotation with zoom (Torr's
geometric information criterion, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField
from stpe.geometry.homography import tolerance_px
from stpe.geometry.intrinsics import Intrinsics
from stpe.geometry.rotation import matrix_of, nearest_rotation, vector_of

F64 = NDArray[np.float64]

_TRIALS = 64  # directions over the half sphere, about 18 degrees apart
_SEARCHED = 400  # samples used while searching directions
_LEAST_SUPPORT = 24.0


@dataclass(frozen=True)
class Egomotion:
    """Motion of the camera over an interval, in the earlier camera's frame.

    Attributes:
        rotation_rad: its rotation vector (x tilts up, y pans right, z rolls clockwise).
        translation: unit direction it moved in, or None where rotation and zoom explain the flow.
        zoom: logarithm of the change of focal length; zero with a translation.
        inlier_share: share of the field's weight that follows the model.
        parallax_px: median length of the flow that translation causes.
        epipolar_N2: for each sample the unit normal of its epipolar line in the later image;
            zeros without translation.
        induced_N2: the flow that rotation and zoom alone give, in pixels.
    """

    rotation_rad: F64
    translation: F64 | None
    zoom: float
    inlier_share: float
    parallax_px: float
    epipolar_N2: F64
    induced_N2: F64

    @property
    def rotation_deg(self) -> F64:
        """`rotation_rad` in degrees."""
        return np.asarray(np.degrees(self.rotation_rad))


def fit_egomotion(
    field: FlowField, camera: Intrinsics, homography: F64 | None = None
) -> Egomotion | None:
    """Fit rotation and translation direction; None where too little of the frame can be trusted.

    Args:
        field: flow of the interval.
        camera: intrinsics in stored-frame pixels.
        homography: the dominant homography, if known: it starts the search.
    """
    used = field.weight_N > 0.05
    if field.weight_N[used].sum() < _LEAST_SUPPORT:
        return None
    problem = _Problem(
        camera.rays(field.points_N2[used]),
        camera.rays(field.points_N2[used] + field.flow_N2[used]),
        field.weight_N[used],
        field.unit / camera.fx,
    )
    start = np.eye(3)
    if homography is not None:
        k = camera.matrix
        start = nearest_rotation(np.linalg.inv(k) @ homography @ k)
    only, _ = problem.rotation(start)
    zoomed, zoom = problem.rotation(only, zooms=True)
    plain = problem.gric(problem.whole(only), 2, 3)
    with_zoom = problem.gric(problem.whole(zoomed, zoom), 2, 4)
    still = (only, 0.0, plain) if plain <= with_zoom else (zoomed, zoom, with_zoom)
    if still[2] <= problem.gric(0.0 * problem.weight, 3, 5):
        return _describe(field, camera, still[0], still[1], None)
    sparse = problem.sparse()
    trials = [sparse.refine(only, direction) for direction in sparse.directions(only)]
    turn, move, _ = min(trials, key=lambda trial: trial[2])
    turn, move, _ = problem.refine(turn, move, rounds=4)
    if problem.gric(problem.across(turn, move) ** 2, 3, 5) < still[2]:
        return _describe(field, camera, turn, 0.0, move)
    return _describe(field, camera, still[0], still[1], None)


def given_egomotion(
    field: FlowField, camera: Intrinsics, rotation_rad: F64, displacement_3: F64
) -> Egomotion:
    """A motion known from elsewhere, in the earlier camera's frame, with what the flow says of it.

    Without displacement, rotation alone must explain the flow.
    """
    turn = matrix_of(rotation_rad).T
    length = float(np.linalg.norm(displacement_3))
    move = None if length < 1e-9 else -turn @ displacement_3 / length
    return _describe(field, camera, turn, 0.0, move)


def _describe(
    field: FlowField, camera: Intrinsics, turn: F64, zoom: float, move: F64 | None
) -> Egomotion:
    focal = np.array([camera.fx, camera.fy])
    rotated = _project(camera.rays(field.points_N2) @ turn[:, :2].T + turn[:, 2]) * np.exp(zoom)
    induced = rotated * focal + [camera.cx, camera.cy] - field.points_N2
    rest = field.flow_N2 - induced
    normal = np.zeros_like(rest)
    parallax = 0.0
    if move is not None:
        line = (move[:2] - rotated * move[2]) * focal
        length = np.linalg.norm(line, axis=1, keepdims=True)
        normal = np.stack([-line[:, 1], line[:, 0]], axis=1) / np.maximum(length, 1e-12)
        residual = np.abs((rest * normal).sum(axis=1))
    else:
        residual = np.linalg.norm(rest, axis=1)
    inlier = residual < tolerance_px(field)
    trusted = inlier & (field.weight_N > 0.05)
    if move is not None and trusted.any():
        parallax = float(np.median(np.linalg.norm(rest[trusted], axis=1)))
    return Egomotion(
        rotation_rad=vector_of(turn.T),
        translation=None if move is None else -turn.T @ move / np.linalg.norm(move),
        zoom=zoom,
        inlier_share=float(field.weight_N[inlier].sum() / field.weight_N.sum()),
        parallax_px=parallax,
        epipolar_N2=normal,
        induced_N2=induced,
    )


class _Problem:
    """Rays before and after, their weights, and the flow's noise at depth one."""

    def __init__(self, before_N2: F64, after_N2: F64, weight_N: F64, noise: float) -> None:
        self.before, self.after, self.weight, self.noise = before_N2, after_N2, weight_N, noise
        self._before_3N = np.concatenate([before_N2.T, np.ones((1, len(before_N2)))])
        self._after_2N = np.ascontiguousarray(after_N2.T)

    def sparse(self) -> _Problem:
        """The same problem on a few hundred samples."""
        step = max(1, len(self.weight) // _SEARCHED)
        return _Problem(self.before[::step], self.after[::step], self.weight[::step], self.noise)

    def _rest(self, turn: F64, zoom: float = 0.0) -> tuple[F64, F64, F64]:
        """Rotated rays, what flow remains, and its derivative by a further small rotation."""
        rotated = _project(self.before @ turn[:, :2].T + turn[:, 2]) * np.exp(zoom)
        return rotated, self.after - rotated, _rotation_flow(rotated)

    def rotation(self, turn: F64, *, zooms: bool = False) -> tuple[F64, float]:
        """The rotation, and change of log focal length if `zooms`, that fits without parallax."""
        unknowns = 4 if zooms else 3
        zoom = 0.0
        # Row by row: derivatives of u and of v by each unknown, each row contiguous.
        by_u, by_v = (np.empty((unknowns, len(self.weight))) for _ in range(2))
        for scale in (4.0, 1.0, 1.0) if zooms else (6.0, 4.0, 2.0, 1.0, 1.0, 1.0):
            across, down, depth = turn @ self._before_3N
            depth = np.exp(zoom) / np.maximum(depth, 1e-3)
            x, y = across * depth, down * depth
            rest_u, rest_v = self._after_2N[0] - x, self._after_2N[1] - y
            weight = self.weight / (1 + (rest_u**2 + rest_v**2) / (scale * self.noise) ** 2) ** 2
            by_u[0], by_v[1] = -x * y, x * y
            by_u[1], by_v[0] = 1 + x * x, -1 - y * y
            by_u[2], by_v[2] = -y, x
            if zooms:
                by_u[3], by_v[3] = x, y
            weighted_u, weighted_v = by_u * weight, by_v * weight
            normal = weighted_u @ by_u.T + weighted_v @ by_v.T + 1e-12 * np.eye(unknowns)
            step = np.linalg.solve(normal, weighted_u @ rest_u + weighted_v @ rest_v)
            turn = matrix_of(step[:3]) @ turn
            zoom += float(step[3]) if zooms else 0.0
        return turn, zoom

    def directions(self, turn: F64) -> list[F64]:
        """The most promising directions of translation, best first."""
        rotated, rest, by_turn = self._rest(turn)
        trials = _half_sphere(_TRIALS)
        normals = _normals(rotated, trials)
        across = normals[..., 0] * rest[:, 0] + normals[..., 1] * rest[:, 1]
        by = normals[..., :1] * by_turn[:, 0] + normals[..., 1:] * by_turn[:, 1]
        residual = across
        for scale in (4.0, 2.0, 1.0):
            loss = self.weight / (1 + (residual / (scale * self.noise)) ** 2)
            weighted = (by * loss[..., None]).transpose(0, 2, 1)
            normal = weighted @ by + 1e-12 * np.eye(3)
            small = np.linalg.solve(normal, weighted @ across[..., None])
            residual = across - (by @ small)[..., 0]
        cost = (self.weight * np.log1p((residual / self.noise) ** 2)).sum(axis=1)
        order = np.argsort(cost, kind="stable")
        chosen: list[F64] = []
        for index in order:
            if all(abs(trials[index] @ other) < 0.85 for other in chosen):
                chosen.append(trials[index])
            if len(chosen) == 3:
                break
        return chosen

    def refine(self, turn: F64, move: F64, rounds: int = 12) -> tuple[F64, F64, float]:
        """Gauss-Newton on rotation and direction; the direction's sign puts depth in front."""
        for _ in range(rounds):
            rotated, rest, by_turn = self._rest(turn)
            normal = _normals(rotated, move[None])[0]
            residual = (normal * rest).sum(axis=1)
            tangent = np.linalg.svd(move[None])[2][1:]
            slopes = [-(normal[:, None, :] @ by_turn)[:, 0]]
            for axis in tangent:
                nudged = _normals(rotated, (move + 1e-5 * axis)[None])[0]
                slopes.append((((nudged - normal) * rest).sum(axis=1) / 1e-5)[:, None])
            by = np.concatenate(slopes, axis=1)
            loss = self.weight / (1 + (residual / (0.5 * self.noise)) ** 2)
            left = (by * loss[:, None]).T @ by
            left += np.diag(np.diag(left)) * 1e-3 + 1e-12 * np.eye(5)
            step = -np.linalg.solve(left, by.T @ (loss * residual))
            step[3:] *= min(1.0, 0.5 / max(float(np.linalg.norm(step[3:])), 1e-12))
            turn = matrix_of(step[:3]) @ turn
            move = move + step[3:] @ tangent
            move = move / np.linalg.norm(move)
            if np.abs(step).max() < 1e-6:
                break
        residual = self.across(turn, move)
        rotated, rest, _ = self._rest(turn)
        cost = float((self.weight * np.log1p((residual / (0.5 * self.noise)) ** 2)).sum())
        line = move[:2] - rotated * move[2]
        evidence = (rest * line).sum(axis=1) / np.maximum(np.linalg.norm(line, axis=1), 1e-9)
        evidence = np.clip(evidence / self.noise, -3, 3) * (np.abs(residual) < 2 * self.noise)
        if (self.weight * evidence).sum() < 0:
            move = -move
        return turn, move, cost

    def whole(self, turn: F64, zoom: float = 0.0) -> F64:
        """Squared residuals of a model without translation."""
        return np.asarray((self._rest(turn, zoom)[1] ** 2).sum(axis=1))

    def across(self, turn: F64, move: F64) -> F64:
        """Signed distances to the epipolar lines."""
        rotated, rest, _ = self._rest(turn)
        return np.asarray((_normals(rotated, move[None])[0] * rest).sum(axis=1))

    def gric(self, squared: F64, dimension: int, unknowns: int) -> float:
        """Torr's criterion for a model whose manifold in (x, y, x', y') has that dimension."""
        n = float(self.weight.sum())
        rho = np.minimum(squared / (0.5 * self.noise) ** 2, 2.0 * (4 - dimension))
        structure = np.log(4) * dimension * n + np.log(4 * n) * unknowns
        return float((self.weight * rho).sum() + structure)


def _project(rays_N3: F64) -> F64:
    """Points on the plane at depth one; rays at or behind the camera are pushed far aside."""
    return np.asarray(rays_N3[:, :2] / np.maximum(rays_N3[:, 2:], 1e-3))


def _rotation_flow(points_N2: F64) -> F64:
    """Nx2x3: motion of points at depth one by a small rotation of the scene."""
    x, y = points_N2.T
    one = np.ones_like(x)
    return np.stack(
        [np.stack([-x * y, one + x * x, -y], axis=1), np.stack([-(one + y * y), x * y, x], axis=1)],
        axis=1,
    )


def _normals(points_N2: F64, moves_D3: F64) -> F64:
    """DxNx2: unit normals of the epipolar lines through the points for each direction."""
    line = moves_D3[:, None, :2] - points_N2[None] * moves_D3[:, None, 2:]
    length = np.linalg.norm(line, axis=2, keepdims=True)
    return np.asarray(np.stack([-line[..., 1], line[..., 0]], axis=2) / np.maximum(length, 1e-9))


def _half_sphere(count: int) -> F64:
    """Directions spread evenly over the hemisphere z >= 0 (Fibonacci)."""
    i = np.arange(count) + 0.5
    z = i / count
    radius = np.sqrt(1 - z * z)
    angle = i * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
