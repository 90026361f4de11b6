"""A recorded episode loads, and its parts agree with each other and with the picture."""

import shutil

import cv2
import numpy as np
import pytest

from stpe.errors import TruthError
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.rigid_flow import rigid_flow
from stpe.evaluate.truth import pixel_centres
from stpe.geometry.intrinsics import Intrinsics
from stpe.rle import decode_mask
from stpe.video.opening import open_source
from stpe.video.picture import Scaler


def _dense_flow(truth, first, second):
    flow, known = truth.flow(first, second, pixel_centres(320, 240))
    return flow.reshape(240, 320, 2), known.reshape(240, 320)


def test_episode_has_every_part(episode):
    truth = read_truth(episode)
    assert set(truth.parts()) >= {"camera", "objects", "depth", "flow", "transitions", "state"}
    assert truth.metric
    truth.check(320, 240, len(truth.frames))
    assert truth.frames[3].pts == pytest.approx(3 / 35)
    assert truth.frames[0].state["health"] > 0
    objects = [o for frame in truth.objects.values() for o in frame]
    assert {True, False} <= {o.moving for o in objects}
    assert all(o.ignored for o in objects if o.label == "Blood")


def test_figures_that_the_engine_moves_in_steps_have_their_speed(episode):
    truth = read_truth(episode)
    walked: dict[int, list] = {}
    for index, objects in truth.objects.items():
        for item in objects:
            if item.position is not None:
                walked.setdefault(item.identity, []).append((index, item))
    for path in walked.values():
        (first, a), (last, b) = path[0], path[-1]
        gone = np.linalg.norm(np.subtract(b.position, a.position))
        if last - first == len(path) - 1 and len(path) > 20 and gone > 1.0:
            mean = np.mean([np.linalg.norm(item.velocity) for _, item in path])
            assert mean >= 0.8 * gone / ((last - first) / 35)


def test_flow_of_the_still_world_explains_the_picture(episode):
    """Warping a frame back by its true flow brings it nearer to the one before."""
    truth = read_truth(episode)
    with open_source(episode / "episode.mp4") as source:
        scaler = Scaler(320, 240)
        frames = [scaler(f.picture, f.orientation).astype(np.float32) for f in source]
    gains = []
    for first in range(0, len(frames) - 6, 12):
        flow, known = _dense_flow(truth, first, first + 4)
        if np.linalg.norm(flow[known], axis=-1).mean() < 2:
            continue
        y, x = np.mgrid[:240, :320].astype(np.float32)
        warped = cv2.remap(frames[first + 4], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        still = np.abs(frames[first + 4] - frames[first])[known].mean()
        gains.append(still / np.abs(warped - frames[first])[known].mean())
    assert len(gains) >= 3
    assert np.median(gains) > 1.5


def test_a_turning_camera_moves_every_pixel_the_other_way():
    camera = Intrinsics(100, 100, 50, 40)
    points = np.array([[50.0, 40.0], [99.5, 39.5], [1.5, 70.5]])
    step = np.eye(4)
    step[:3, :3] = cv2.Rodrigues(np.array([0, 0.1, 0.0]))[0]  # to the right
    flow, z = rigid_flow(points, np.full(3, 5.0), step, camera)
    assert (flow[:, 0] < 0).all()
    assert flow[0] == pytest.approx([-100 * np.tan(0.1), 0], abs=1e-4)
    assert z[0] == pytest.approx(5 * np.cos(0.1))
    forward = np.eye(4)
    forward[2, 3] = 1.0
    flow, z = rigid_flow(points, np.full(3, 5.0), forward, camera)
    assert z == pytest.approx([4, 4, 4])
    assert flow[1, 0] == pytest.approx(49.5 * (5 / 4 - 1), rel=1e-5)


def test_masks_and_moving_things_are_left_out_of_the_flow(episode):
    truth = read_truth(episode)
    for first in range(0, 60, 10):
        _, known = _dense_flow(truth, first, first + 3)
        for item in truth.objects[first]:
            if item.moving is not False:
                assert not known[decode_mask(item.mask_rle)].any()


@pytest.mark.parametrize("name", ["frames.parquet", "objects.parquet", "truth.json"])
def test_damaged_files_are_named(episode, tmp_path, name):
    folder = tmp_path / "truth"
    shutil.copytree(episode / "truth", folder, ignore=shutil.ignore_patterns("depth"))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(TruthError, match=name):
        read_truth(folder)
