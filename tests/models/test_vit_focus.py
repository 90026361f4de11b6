"""Image features: grids that keep the aspect, unit embeddings, salience where the thing is."""

import cv2
import numpy as np
import pytest

from stpe.errors import ModelError
from stpe.models import loader
from stpe.models.backends.openvino import vit_focus
from stpe.stages.features import feature_edges


@pytest.fixture(scope="module")
def model():
    return loader.load(loader.resolve("embedded").models["image_embedder"])


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.weights
@pytest.mark.parametrize(("width", "height"), [(854, 480), (480, 640), (31, 400)])
def test_shapes_and_units(model, width, height):
    image = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    one, same = model.embed([image, image])
    rows, columns, depth = one.dense_hwD.shape
    assert depth == model.dimension == 384
    assert 0.75 * vit_focus.TOKENS <= rows * columns <= vit_focus.TOKENS
    assert abs(np.log(columns / rows * height / width)) < 0.1
    assert one.dense_hwD.dtype == np.float16
    assert abs(np.linalg.norm(one.global_D) - 1) < 1e-5
    assert one.saliency_hw.shape == (rows, columns)
    assert one.saliency_hw.min() >= 0
    assert one.saliency_hw.max() <= 1
    assert np.array_equal(one.global_D, same.global_D)


@pytest.mark.weights
def test_frames_of_one_clip_are_nearest_and_the_subject_is_salient(model, shared_data):
    folder = shared_data / "davis2016"
    clips = ("blackswan", "car-shadow", "dog", "parkour")
    embeddings, contrast, edge = [], [], []
    for clip in clips:
        for index in (5, 35):
            name = f"480p/{clip}/{index:05d}"
            found = model.embed([read(folder / "JPEGImages" / f"{name}.jpg")])[0]
            truth = cv2.imread(str(folder / "Annotations" / f"{name}.png"), 0) > 0
            size = found.saliency_hw.shape[::-1]
            share = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            inside, outside = share > 0.8, share < 0.2
            contrast.append(found.saliency_hw[inside].mean() - found.saliency_hw[outside].mean())
            edges = feature_edges(found.dense_hwD)
            rim = (share > 0) & (share < 1)
            edge.append(edges[rim].mean() / edges[~rim].mean())
            embeddings.append(found.global_D)
    similar = np.array(embeddings) @ np.array(embeddings).T
    np.fill_diagonal(similar, -1)
    assert (similar.argmax(1) == np.arange(8) ^ 1).all()
    assert np.mean(contrast) > 0.35
    assert np.mean(edge) > 1.5


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"other\.onnx"):
        vit_focus.load({"vit_s_focus.onnx": path}, {})
