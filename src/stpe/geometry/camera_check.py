"""Whether measured flow speaks for or against a camera that the user describes."""

from __future__ import annotations

import numpy as np

from stpe.geometry.egomotion import Egomotion, fit_egomotion
from stpe.geometry.field import FlowField
from stpe.geometry.intrinsics import Intrinsics

#: Focal lengths tried beside the given one, as shares of it.
FOCAL_SHARES = (0.6, 1.0, 1.67)


def pose_agreement(field: FlowField, given: Egomotion, fitted: Egomotion) -> float | None:
    """Share of flow that follows the given motion over that which follows the best one, 0..1.

    None where neither moves the picture: stillness agrees with any path that rests as well.
    """
    if max(_moves(given), _moves(fitted)) < field.unit:
        return None
    return min(1.0, given.inlier_share / max(fitted.inlier_share, 1e-6))


def focal_costs(field: FlowField, camera: Intrinsics) -> list[float] | None:
    """Robust residual of the best motion for each of FOCAL_SHARES; None without a fit for all."""
    costs = []
    for share in FOCAL_SHARES:
        tried = Intrinsics(share * camera.fx, share * camera.fy, camera.cx, camera.cy)
        found = fit_egomotion(field, tried)
        if found is None:
            return None
        costs.append(_cost(field, found))
    return costs


def _moves(found: Egomotion) -> float:
    """Typical length of the flow that a motion makes, pixels."""
    return float(np.median(np.linalg.norm(found.induced_N2, axis=1))) + found.parallax_px


def _cost(field: FlowField, found: Egomotion) -> float:
    rest = field.flow_N2 - found.induced_N2
    if found.translation is None:
        residual = np.linalg.norm(rest, axis=1)
    else:
        residual = np.abs((rest * found.epipolar_N2).sum(axis=1))
    loss = np.log1p((residual / (0.5 * field.unit)) ** 2)
    return float((field.weight_N * loss).sum() / field.weight_N.sum())
