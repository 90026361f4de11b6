"""Detectors: people found where they are, in the image's own pixels, the same from any thread."""

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from stpe.errors import ModelError
from stpe.models import loader
from stpe.models.backends.openvino import darknet
from stpe.models.backends.openvino.fit import fit_size
from stpe.models.backends.openvino.nms import detections
from stpe.models.backends.openvino.session import Session

CFG = """[net]
width=64
[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky
[route]
layers=-1
groups=2
group_id=1
[convolutional]  # one anchor, one class
size=1
filters=6
activation=linear
[yolo]
mask=1
anchors=1,2, 10,20
classes=1
scale_x_y=1.05
"""
WEIGHTS = 4 * 4 + 4 * 3 * 9 + 6 + 6 * 2


def load(name):
    return loader.load(loader.resolve("embedded", {"detector": name}).models["detector"])


@pytest.fixture(scope="module")
def default():
    return load("yolov4-tiny")


@pytest.fixture(scope="module")
def stills(shared_data):
    """(image, boxes of people) of each labelled still."""
    folder = shared_data / "coco_person_mini"
    truth = json.loads((folder / "test_coco.json").read_text())
    for image in truth["images"]:
        boxes = [a["bbox"] for a in truth["annotations"] if a["image_id"] == image["id"]]
        xywh = np.array(boxes, np.float32)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        pixels = cv2.imread(str(folder / image["file_name"]))
        image["found"] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), xyxy
    return [image["found"] for image in truth["images"]]


def iou(a, b):
    low, high = (
        np.maximum(a[:, None, :2], b[None, :, :2]),
        np.minimum(a[:, None, 2:], b[None, :, 2:]),
    )
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b))
    return shared / (area_a[:, None] + area_b[None] - shared)


def people(found):
    return found.boxes_N4[[label == "person" for label in found.labels]]


@pytest.mark.weights
@pytest.mark.parametrize(("name", "at_least"), [("yolov4-tiny", 8), ("yolo11n", 10)])
def test_finds_people(name, at_least, stills):
    model, hits = load(name), 0
    assert len(model.labels) == 80
    for image, truth in stills:
        found = model.detect([image])[0]
        height, width = image.shape[:2]
        assert found.boxes_N4.dtype == found.scores_N.dtype == np.float32
        assert (found.boxes_N4 >= 0).all()
        assert (found.boxes_N4 <= [width, height, width, height]).all()
        assert (np.diff(found.scores_N) <= 0).all()
        hits += (iou(people(found), truth).max(axis=0) > 0.5).sum()
    assert hits >= at_least  # of 12


@pytest.mark.weights
def test_boxes_are_in_the_pixels_of_the_image_given(default, stills):
    image, _ = stills[2]
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    small, big = (people(default.detect([x], 0.5)[0]) for x in (image, large))
    assert iou(small, big / 2).max(axis=1).min() > 0.9


@pytest.mark.weights
def test_no_image_content_no_boxes_and_any_size(default):
    for size in ((3, 5), (16, 400), (480, 640)):
        assert len(default.detect([np.full((*size, 3), 127, np.uint8)])[0]) == 0


@pytest.mark.weights
def test_four_threads_give_what_one_gives_and_bf16_what_f32_gives(default, stills):
    images = [image for image, _ in stills] * 3
    alone = default.detect(images, 0.1)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: default.detect([image], 0.1)[0], images))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.boxes_N4, b.boxes_N4)
        np.testing.assert_array_equal(a.scores_N, b.scores_N)
    exact = load("yolov4-tiny")
    exact._session = Session(exact._session._model, precision="f32")
    for found, image in zip(default.detect(images[:4], 0.5), images[:4], strict=True):
        precise = exact.detect([image], 0.4)[0]
        assert iou(found.boxes_N4, precise.boxes_N4).max(axis=1).min() > 0.9


def test_suppression_is_within_a_class_and_clips_to_the_image():
    boxes = np.float32(
        [[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [-5, -5, 4, 4], [30, 0, 40, 9]]
    )
    scores, classes = np.float32([0.6, 0.9, 0.5, 0.7, 0.8]), np.array([0, 0, 1, 0, 0])
    found = detections(boxes, scores, classes, ("cat", "dog"), (20, 20), 0.45)
    assert found.labels == ("cat", "cat", "dog")
    np.testing.assert_array_equal(found.boxes_N4, [[1, 0, 11, 10], [0, 0, 4, 4], [0, 0, 10, 10]])
    assert len(detections(boxes[:0], scores[:0], classes[:0], ("cat",), (20, 20), 0.45)) == 0


def test_input_sizes_follow_the_aspect_within_the_budget():
    for width, height in ((1920, 1080), (1080, 1920), (640, 480), (4000, 50), (7, 900)):
        columns, rows = fit_size(width, height, 32, 384 * 640)
        assert columns % 32 == rows % 32 == 0
        assert columns * rows <= 384 * 640
        assert (columns > rows) == (width > height)


def test_a_file_of_another_kind_is_refused(tmp_path):
    weights = tmp_path / "other.weights"
    weights.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="not a darknet weights file"):
        darknet.build([("net", {})], weights)


@pytest.mark.parametrize("extra", [-1, 1])
def test_weights_of_another_network_are_refused(tmp_path, extra):
    weights = tmp_path / "other.weights"
    header = np.array([0, 2, 0, 0, 0], np.int32).tobytes()
    weights.write_bytes(header + np.ones(WEIGHTS + extra, np.float32).tobytes())
    cfg = tmp_path / "net.cfg"
    cfg.write_text(CFG)
    with pytest.raises(ModelError, match="another network"):
        darknet.build(darknet.read_cfg(cfg), weights)


def test_a_darknet_graph_computes_what_its_layers_say(tmp_path):
    rng = np.random.default_rng(0)
    beta, gamma, mean, kernel, bias, last = (
        rng.normal(size=n).astype(np.float32) for n in (4, 4, 4, 4 * 27, 6, 12)
    )
    var = rng.uniform(0.5, 2, 4).astype(np.float32)
    weights, cfg = tmp_path / "net.weights", tmp_path / "net.cfg"
    parts = (beta, gamma, mean, var, kernel, bias, last)
    header = np.array([0, 2, 0, 0, 0], np.int32).tobytes()
    weights.write_bytes(header + np.concatenate(parts).tobytes())
    cfg.write_text(CFG)
    sections = darknet.read_cfg(cfg)
    head = darknet.yolo_heads(sections)[0]
    assert (head.classes, head.scale_xy, head.anchors_A2.tolist()) == (1, 1.05, [[10, 20]])
    graph = tmp_path / "net.onnx"
    darknet.build(sections, weights).save(graph)

    image = rng.random((1, 3, 8, 6), np.float32)
    got = Session(graph, precision="f32").run([image])[0]
    padded = np.pad(image[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    y = np.einsum("chwyx,ocyx->ohw", windows, kernel.reshape(4, 3, 3, 3))
    bn = [v[:, None, None] for v in (beta, gamma, mean, var)]
    y = (y - bn[2]) / np.sqrt(bn[3] + 1e-5) * bn[1] + bn[0]
    y = np.where(y > 0, y, 0.1 * y)[2:]
    want = np.einsum("chw,oc->ohw", y, last.reshape(6, 2)) + bias[:, None, None]
    np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)
