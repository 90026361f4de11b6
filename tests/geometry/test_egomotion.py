"""Camera models recovered from flow of known cameras."""

import numpy as np
import pytest

from stpe.errors import UsageError
from stpe.geometry.egomotion import fit_egomotion
from stpe.geometry.homography import fit_homography, transform
from stpe.geometry.intrinsics import intrinsics

from .scenes import CAMERA, SIZE, field_of, flow_of, grid, rough_depth


@pytest.mark.parametrize(
    ("rotation", "move"),
    [
        ((0.3, -1.2, 0.4), (0.05, 0.0, 0.02)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.08)),
        ((2.0, 4.0, -3.0), (-0.06, 0.03, 0.05)),
        ((0.0, 0.5, 0.0), (0.1, 0.0, 0.0)),
    ],
)
def test_rotation_and_direction_with_a_mover_in_view(rotation, move):
    flow = flow_of(rotation, move, rough_depth())
    points, _ = grid()
    flow[(np.abs(points - [200, 200]) < [60, 90]).all(axis=1)] += [9.0, -4.0]
    field = field_of(flow, noise_px=0.15)
    plane = fit_homography(field)
    found = fit_egomotion(field, CAMERA, plane.matrix)
    assert np.linalg.norm(found.rotation_deg - rotation) < 0.06
    cosine = found.translation @ np.array(move) / np.linalg.norm(move)
    assert np.degrees(np.arccos(min(1.0, cosine))) < 6
    assert 0.85 < found.inlier_share < 1


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (0.0, 2.5, 0.0), (-1.0, 0.5, 3.0)])
def test_no_translation_is_invented(rotation):
    field = field_of(flow_of(rotation, (0, 0, 0), rough_depth()), noise_px=0.15)
    found = fit_egomotion(field, CAMERA)
    assert found.translation is None
    assert np.linalg.norm(found.rotation_deg - rotation) < 0.02


def test_zoom_is_neither_rotation_nor_translation():
    field = field_of(flow_of((0, 0, 0), (0, 0, 0), rough_depth(), zoom=1.04), noise_px=0.1)
    found = fit_egomotion(field, CAMERA)
    assert found.translation is None
    assert np.linalg.norm(found.rotation_deg) < 0.05
    assert found.zoom == pytest.approx(np.log(1.04), abs=0.002)


def test_homography_follows_the_larger_area_not_the_better_texture():
    flow = flow_of((0.2, 1.0, 0.5), (0, 0, 0), rough_depth())
    points, _ = grid()
    middle = (np.abs(points - [320, 260]) < [190, 190]).all(axis=1)
    truth = flow.copy()
    flow[middle] += [-12.0, 3.0]
    weight = np.where(middle, 1.0, 0.35)
    plane = fit_homography(field_of(flow, noise_px=0.1, weight=weight))
    error = np.linalg.norm(transform(plane.matrix, points) - points - truth, axis=1)
    assert np.median(error) < 0.1
    assert error.max() < 0.5


def test_nothing_is_measured_without_texture():
    field = field_of(np.zeros((2700, 2)), weight=np.full(2700, 0.005))
    assert fit_homography(field) is None
    assert fit_egomotion(field, CAMERA) is None


def test_three_trusted_points_make_no_consensus():
    weight = np.full(2700, 0.01)
    weight[[200, 1330, 2500]] = 1.0
    assert fit_homography(field_of(np.zeros((2700, 2)), weight=weight)) is not None


@pytest.mark.parametrize("text", ["{", "[1,2]", '{"fx": 1}', '{"fx":0,"fy":1,"cx":1,"cy":1}'])
def test_bad_intrinsics_say_what_is_wanted(text):
    with pytest.raises(UsageError, match="fx"):
        intrinsics(text, *SIZE)
