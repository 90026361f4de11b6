"""MoveNet: a whole person in the image's pixels, the same from any thread and in bfloat16."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from stpe.models import loader
from stpe.models.backends.openvino.session import Session

pytestmark = pytest.mark.weights


def load():
    return loader.load(loader.resolve("embedded").models["pose"])


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def skier(shared_data):
    """One large person, boxed at (281, 45) to (499, 391)."""
    image = cv2.imread(str(shared_data / "coco_person_mini" / "000000000785.jpg"))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def test_joints_of_one_person_at_any_image_size(model, skier):
    for scale in (0.5, 1.0, 2.0):
        image = cv2.resize(skier, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        poses = model.estimate([image])[0]
        assert poses.keypoints_N173.shape == (1, 17, 3)
        assert poses.boxes_N4.shape == (1, 4)
        joints = poses.keypoints_N173[0] / [scale, scale, 1]
        assert (joints[:, :2] > [275, 40]).all()
        assert (joints[:, :2] < [505, 395]).all()
        nose, ankles = joints[0], joints[15:]
        assert (ankles[:, 1] - nose[1] > 200).all()
        assert poses.scores_N[0] > 0.3


def test_threads_and_precision(model, skier):
    images = [np.roll(skier, 40 * i, axis=1) for i in range(4)]
    alone = model.estimate(images, 0.1)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: model.estimate([image], 0.1)[0], images))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.keypoints_N173, b.keypoints_N173)
    exact = load()
    exact._session = Session(exact._session._model, precision="f32")
    precise = exact.estimate(images[:1])[0].keypoints_N173[0]
    sure = precise[:, 2] > 0.4
    gap = np.linalg.norm(precise[sure, :2] - alone[0].keypoints_N173[0, sure, :2], axis=1)
    assert sure.sum() >= 10
    assert np.median(gap) < 3
    assert model.estimate([np.zeros((30, 50, 3), np.uint8)])[0].boxes_N4.shape == (0, 4)
