"""RAFT: exact on a known shift, better than DIS on real pairs, the same from any thread."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from stpe.errors import UsageError
from stpe.models import loader
from stpe.models.backends.openvino import raft
from stpe.models.weights import fetch

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def entry():
    return loader.resolve("embedded", {"flow": "raft-things"}).models["flow"]


@pytest.fixture(scope="module")
def model(entry):
    return loader.load(entry)


def pair(shared_data, name, top=0, height=480, width=640):
    folder = shared_data / "middlebury_flow" / name
    part = np.s_[top : top + height, :width]
    a, b = (cv2.imread(str(folder / f"frame{i}.png"))[..., ::-1][part] for i in (10, 11))
    truth = cv2.readOpticalFlow(str(folder / "flow10.flo"))[part]
    return np.ascontiguousarray(a), np.ascontiguousarray(b), truth


def error(flow, truth):
    return np.linalg.norm(flow - truth, axis=2)[(np.abs(truth) < 1e9).all(axis=2)].mean()


def test_the_graphs_compute_what_the_published_code_computes(model):
    """`golden/raft_flow.npy`: the authors' torch code, 12 iterations, on the same formula."""
    y, x = np.mgrid[:128, :160].astype(np.float64)
    waves = ((0.31, 0.17, 0), (-0.13, 0.29, 1), (0.05, -0.07, 2), (0.6, 0.5, 3), (-0.45, 0.8, 4))

    def image(x, y):
        w = [np.sin(a * x + b * y + c) for a, b, c in waves]
        planes = [127 + 40 * (w[i] + w[i + 1] + w[i + 2]) for i in range(3)]
        return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)

    flow = model.flow(image(x, y), image(x - 5 - 0.03 * y, y + 3 - 0.02 * x))
    golden = np.load(Path(__file__).parent / "golden" / "raft_flow.npy")
    np.testing.assert_allclose(flow[4::8, 4::8], golden, atol=1e-3)


def test_it_is_far_better_than_dis_where_motion_is_large(model, shared_data):
    a, b, truth = pair(shared_data, "Urban2", 120, 240, 320)
    dis = loader.load(loader.resolve("embedded", {"flow": "dis"}).models["flow"])
    found = error(model.flow(a, b), truth)
    assert found < 0.5
    assert found < 0.7 * error(dis.flow(a, b), truth)


def test_odd_sizes_and_four_threads(model, shared_data):
    a, b, truth = pair(shared_data, "Grove2", 100, 133, 171)
    alone = model.flow(a, b)
    assert alone.shape == (133, 171, 2)
    assert error(alone, truth) < 0.6
    with ThreadPoolExecutor(4) as pool:
        for flow in pool.map(lambda _: model.flow(a, b), range(4)):
            np.testing.assert_array_equal(flow, alone)


def test_large_images_are_looked_at_smaller_and_answered_in_their_pixels(entry, shared_data):
    a, b, truth = pair(shared_data, "Urban2", 120, 240, 320)
    flow = raft.load(fetch(entry), {"pixels": 128 * 168, "iterations": 8}).flow(a, b)
    assert flow.shape == truth.shape
    assert np.median(np.linalg.norm(truth, axis=2)) > 2.5
    assert np.median(np.linalg.norm(flow - truth, axis=2)) < 0.6


def test_tiny_images_and_images_of_two_sizes(model):
    image = np.random.default_rng(0).integers(0, 255, (9, 20, 3), dtype=np.uint8)
    flow = model.flow(image, image)
    assert flow.shape == (9, 20, 2)
    assert np.isfinite(flow).all()
    with pytest.raises(UsageError, match="one size"):
        model.flow(image, image[:8])
