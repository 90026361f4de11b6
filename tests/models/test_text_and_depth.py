"""Text embeddings tell meanings apart; depth orders what is near and far indoors."""

import cv2
import numpy as np
import pytest

from stpe.models.catalog import catalog
from stpe.models.loader import load

pytestmark = pytest.mark.weights


def test_paraphrases_are_near():
    model = load(catalog().model("bge-small-int8"))
    texts = ["a person riding a bicycle", "someone cycling", "a bowl of soup", ""]
    rows = model.embed_text(texts)
    assert rows.shape == (4, model.dimension)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    similarity = rows @ rows.T
    assert similarity[0, 1] > 0.7 > 0.65 > similarity[0, 2]
    # A sentence's numbers do not depend on what stands beside it.
    np.testing.assert_array_equal(rows[1], model.embed_text(["someone cycling"])[0])
    assert model.embed_text([]).shape == (0, 384)
    assert np.isfinite(model.embed_text(["word " * 2000])).all()


def test_depth_orders_an_indoor_scene(shared_data):
    folder = shared_data / "metric_depth_stills" / "nyu_demo"
    path = next((folder / "rgb").glob("*00050*"))
    truth = cv2.imread(str(next((folder / "depth").glob("*00050*"))), cv2.IMREAD_UNCHANGED)
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    (found,) = load(catalog().model("fastdepth")).depth([image])
    assert found.unit == "relative"
    assert found.depth_HW.shape == image.shape[:2]
    assert found.depth_HW.min() > 0
    known = truth > 0
    ranks = [np.argsort(np.argsort(m[known])).astype(float) for m in (found.depth_HW, truth)]
    assert np.corrcoef(ranks)[0, 1] > 0.8
