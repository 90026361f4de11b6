"""MobileSAM: the numbers of the torch original, shapes found from boxes and points, any aspect."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stpe.errors import ModelError
from stpe.models import loader
from stpe.models.backends.openvino import mobile_sam_graphs as graphs
from stpe.models.backends.openvino.mobile_sam import MobileSam
from stpe.models.backends.openvino.session import Session
from stpe.models.tensors import read_torch
from stpe.models.weights import fetch

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def entry():
    return loader.resolve("embedded").models["segmenter"]


@pytest.fixture(scope="module")
def model(entry):
    return loader.load(entry)


def ellipse(width, height, centre, radii):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1


def picture(width, height, *shapes):
    y, x = np.mgrid[:height, :width] / max(width, height)
    image = np.stack([255 * x, 255 * y, 127 * (x + y)], -1).astype(np.uint8)
    for number, shape in enumerate(shapes):
        image[shape] = ((230, 30, 20), (20, 40, 240))[number % 2]
    return image


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_it_computes_what_the_original_does(entry, tmp_path):
    """Expected numbers: the torch original on the same normalised 1024x1024 canvas, float32."""
    tensors = read_torch(fetch(entry)["mobile_sam.pt"])
    paths = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    graphs.encoder(tensors).save(paths[0])
    graphs.decoder(tensors).save(paths[1])
    y, x = np.mgrid[:1024, :1024].astype(np.float32)
    canvas = np.stack([x / 1023, y / 1023, (x + y) / 2046], 0) * 2 - 1
    colour = np.array([1.5, -1.0, -1.2], np.float32)[:, None]
    canvas[:, ellipse(1024, 1024, (420, 300), (180, 120))] = colour
    canvas[:, 576:] = 0
    image = np.ascontiguousarray(canvas[None], np.float32)
    encoder = Session(paths[0], precision="f32", streams=1)
    embedding = encoder.run({"image": image})[0]
    at = embedding[0, [0, 50, 100, 200], [10, 20, 18, 40], [10, 30, 26, 50]]
    assert np.allclose(at, [-0.12999058, 0.14263631, -0.1140501, 0.05618408], atol=2e-5)

    prompts = MobileSam(*paths, tensors)._prompts(
        np.array([[[235, 175], [605, 425]]], np.float32), np.array([[2, 3]]), 1.0
    )
    masks, quality = Session(paths[1], precision="f32", streams=1).run(
        {
            "embedding": embedding,
            "position": MobileSam(*paths, tensors)._position((64, 64)),
            "prompts": prompts,
        }
    )
    assert abs(quality[0, 0] - 0.989023) < 1e-4
    assert abs((masks[0, 0] > 0).sum() - 4214) <= 2
    at = masks[0, 0, [75, 75, 10, 120], [105, 150, 10, 105]]
    assert np.allclose(at, [17.196482, -20.212072, -16.876673, -16.910217], atol=5e-3)


@pytest.mark.parametrize(("width", "height"), [(427, 240), (240, 427), (300, 300), (1500, 333)])
def test_boxes_and_points_give_the_shape_at_any_aspect(model, width, height):
    first = ellipse(width, height, (0.3 * width, 0.5 * height), (0.12 * width, 0.2 * height))
    second = ellipse(width, height, (0.7 * width, 0.6 * height), (0.1 * width, 0.15 * height))
    encoded = model.encode(picture(width, height, first, second))
    boxes = [
        [0.18 * width, 0.3 * height, 0.42 * width, 0.7 * height],
        [0.6 * width, 0.45 * height, 0.8 * width, 0.75 * height],
    ]
    found = model.from_boxes(encoded, np.array(boxes, np.float32))
    assert found.masks_NHW.shape == (2, height, width)
    assert found.masks_NHW.dtype == bool
    assert iou(found.masks_NHW[0], first) > 0.93
    assert iou(found.masks_NHW[1], second) > 0.93
    assert (found.scores_N > 0.9).all()
    assert (found.scores_N <= 1).all()
    points = np.array([[[0.3 * width, 0.5 * height]], [[0.7 * width, 0.6 * height]]], np.float32)
    pointed = model.from_points(encoded, points, np.ones((2, 1), np.int32))
    assert iou(pointed.masks_NHW[0], first) > 0.9
    assert iou(pointed.masks_NHW[1], second) > 0.9


def test_many_prompts_answer_as_each_alone_from_any_thread(model):
    shape = ellipse(320, 180, (100, 90), (40, 50))
    encoded = model.encode(picture(320, 180, shape))
    boxes = np.array([[60 + i, 40, 140, 140 - 2 * i] for i in range(7)], np.float32)
    together = model.from_boxes(encoded, boxes)
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda box: model.from_boxes(encoded, box[None]), boxes))
    for i, one in enumerate(alone):
        assert iou(one.masks_NHW[0], together.masks_NHW[i]) > 0.97
        assert abs(one.scores_N[0] - together.scores_N[i]) < 0.02
    again = model.from_boxes(model.encode(picture(320, 180, shape)), boxes)
    assert np.array_equal(again.masks_NHW, together.masks_NHW)
    assert model.from_boxes(encoded, np.zeros((0, 4), np.float32)).masks_NHW.shape == (0, 180, 320)


def test_text_is_refused_and_a_foreign_checkpoint_named():
    with pytest.raises(ModelError, match="MobileSAM"):
        graphs.encoder({"conv1.weight": np.zeros((1, 1, 3, 3), np.float32)})
    with pytest.raises(ModelError, match="text"):
        MobileSam.from_text(None, None, ["car"])  # type: ignore[arg-type]
