"""Whose motion it is: the camera's, or that of a thing that fills the picture."""

import numpy as np
import pytest

from stpe.geometry.homography import transform
from stpe.geometry.surround import fit_camera_plane

from .scenes import SIZE, field_of, flow_of, grid, rough_depth


def _face(width=0.72, height=0.85):
    """Inside of an oval that stands on the lower border, with shoulders."""
    points, _ = grid()
    x, y = (points / SIZE - [0.5, 0.52]).T
    return ((x / (width / 2)) ** 2 + (y / (height / 2)) ** 2 < 1) | ((y > 0.3) & (np.abs(x) < 0.45))


@pytest.mark.parametrize("camera", [(0, 0, 0), (0.4, 1.2, 0)])
def test_a_face_that_fills_the_picture_is_not_the_camera(camera):
    points, _ = grid()
    truth = flow_of(camera, (0, 0, 0), np.full(len(points), 4.0))
    face = _face()
    assert face.mean() > 0.5
    flow = truth.copy()
    flow[face] += [9.0, -3.0]
    found = fit_camera_plane(field_of(flow, noise_px=0.1))
    assert found.divided
    error = np.linalg.norm(transform(found.fit.matrix, points) - points - truth, axis=1)
    assert np.median(error) < 0.1
    assert found.fit.inlier_share * found.surround.coverage < 0.5


def test_without_a_background_nobody_is_sure():
    face = _face()
    flow = np.where(face[:, None], [9.0, -3.0], 0.0)
    field = field_of(flow, weight=np.where(face, 1.0, 0.0))
    assert fit_camera_plane(field).surround.coverage < 0.7


@pytest.mark.parametrize(
    ("turn", "move"), [((0.3, 1.0, 0.2), (0, 0, 0)), ((0, 0.2, 0), (0.05, 0, 0.1))]
)
def test_a_moving_camera_keeps_its_trust(turn, move):
    field = field_of(flow_of(turn, move, rough_depth()), noise_px=0.1)
    found = fit_camera_plane(field)
    assert not found.divided
    if not any(move):
        assert found.surround.coverage > 0.95
