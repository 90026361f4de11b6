"""DIS flow: right on a known warp, the same from any thread, whole at any size."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from stpe.errors import UsageError
from stpe.models.backends.opencv import dis


def textured(height, width, seed=0):
    # Detail at every scale, as pictures have.
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    layers = [sigma * cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (2, 5, 12)]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def shifted(image, dx, dy):
    matrix = np.float32([[1, 0, dx], [0, 1, dy]])
    size = image.shape[1::-1]
    return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize(("dx", "dy"), [(0.5, -0.25), (7, 3), (-21, 12)])
def test_recovers_a_shift_in_pixels_right_and_down(dx, dy):
    image = textured(240, 320)
    flow = dis.load({}, {}).flow(image, shifted(image, dx, dy))
    inner = flow[48:-48, 48:-48]
    assert flow.dtype == np.float32
    error = np.linalg.norm(inner - [dx, dy], axis=2)
    assert np.median(error) < 0.1
    assert error.mean() < 0.5


def test_four_threads_and_mixed_sizes_give_what_one_thread_gives():
    model = dis.load({}, {})
    pairs = []
    for seed, (height, width) in enumerate([(96, 128), (40, 64), (20, 20), (120, 96)] * 3):
        image = textured(height, width, seed)
        pairs.append((image, shifted(image, 2, 1)))
    alone = [dis.load({}, {}).flow(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: model.flow(*pair), pairs))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [(1, 1), (2, 200), (12, 12), (33, 17)])
def test_tiny_images_have_flow_of_their_own_size(size):
    image = textured(*size)
    flow = dis.load({}, {}).flow(image, image)
    assert flow.shape == (*size, 2)
    assert np.abs(flow).max() == 0


def test_images_of_two_sizes_are_refused():
    with pytest.raises(UsageError, match="one size"):
        dis.load({}, {}).flow(textured(40, 40), textured(40, 48))


def test_refinement_lowers_the_error_on_real_pairs(shared_data):
    def error(model):
        errors = []
        for folder in sorted(p for p in (shared_data / "middlebury_flow").iterdir() if p.is_dir()):
            a, b = (cv2.imread(str(folder / f"frame{i}.png"))[..., ::-1] for i in (10, 11))
            truth = cv2.readOpticalFlow(str(folder / "flow10.flo"))
            known = (np.abs(truth) < 1e9).all(axis=2)
            flow = model.flow(np.ascontiguousarray(a), np.ascontiguousarray(b))
            errors.append(np.linalg.norm(flow - truth, axis=2)[known].mean())
        return np.mean(errors)

    refined = error(dis.load({}, {}))
    assert refined < 0.35
    assert refined < error(dis.load({}, {"refinement": 0})) - 0.01


def test_a_fast_pan_over_bricks_is_followed():
    """Where texture repeats, the coarsest level alone slips by a whole brick."""
    rows, columns = np.mgrid[0:240, 0:420]
    mortar = ((rows % 24) < 3) | (((columns + 24 * (rows // 24 % 2)) % 48) < 3)
    grain = np.random.default_rng(3).normal(0, 14, mortar.shape)
    wall = np.clip(110 - 60 * mortar + grain, 0, 255).astype(np.uint8)
    wall = cv2.GaussianBlur(np.repeat(wall[..., None], 3, 2), (0, 0), 0.8)
    flow = dis.load({}, {}).flow(wall[:, :320], wall[:, 48:368])
    error = np.linalg.norm(flow[20:-20, 60:-60] - [-48, 0], axis=-1)
    assert np.median(error) < 0.5
