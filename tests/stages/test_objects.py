"""Objects and features stages: what is found in a frame, in stored pixels, and what is not."""

import logging
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco

from stpe.engine import Engine
from stpe.errors import UsageError
from stpe.models import loader
from stpe.models.concepts import LISTS, map_concepts
from stpe.models.notes import noted
from stpe.models.roles import Detections, Masks
from stpe.signals import schema
from stpe.stages import features, objects
from stpe.stages.features import Features
from stpe.stages.instances import Evidence, Instance, distinct, tidy
from stpe.stages.objects import Objects
from stpe.stages.proposals import feature_boxes, level_boxes
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import Frame, SourceInfo


class Fixed:
    """A detector that always answers the same; the labels are a real detector's."""

    labels = ("person", "car", "dog")

    def __init__(self, *found):
        self.found = found

    def detect(self, images, threshold=0.3):
        boxes, scores, labels = zip(*self.found, strict=True) if self.found else ((), (), ())
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        return [Detections(boxes, np.array(scores, np.float32), tuple(labels)) for _ in images]


class Thresholds:
    """A segmenter for bright things on black: what is bright inside the box."""

    accepts_text = False

    def encode(self, image):
        return image.max(axis=2) > 100

    def from_boxes(self, encoded, boxes_N4):
        masks = np.zeros((len(boxes_N4), *encoded.shape), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, np.round(boxes_N4).astype(int), strict=True):
            mask[y0:y1, x0:x1] = encoded[y0:y1, x0:x1]
        return Masks(masks, np.full(len(masks), 0.9, np.float32))


class Reads(Thresholds):
    """The same, that also finds the whole bright area when asked by text."""

    accepts_text = True

    def from_text(self, encoded, concepts, threshold=0.5):
        height, width = encoded.shape
        boxes = np.array([[0, 0, width, height]] * len(concepts), np.float32)
        found = Detections(boxes, np.full(len(concepts), 0.6, np.float32), tuple(concepts))
        return found, Masks(np.repeat(encoded[None], len(concepts), 0), found.scores_N)


def window(image, tables=None, scale=1):
    height, width = image.shape[:2]
    info = SourceInfo("v", "file", "0", width * scale, height * scale, 25.0, 1.0, 25)
    return Window(info, Span(0, 0.0, 1.0), (Frame(5, 0.2, image),), 0, 1, tables or {})


def two_blobs():
    """Two bright rectangles, 160x90, and grids that show both."""
    image = np.zeros((90, 160, 3), np.uint8)
    image[20:50, 20:60] = 200
    image[30:70, 100:130] = 220
    grid = cv2.resize(image[..., 0], (16, 9), interpolation=cv2.INTER_AREA).astype(np.float32)
    dense = np.stack([grid > 100, grid <= 100, np.full_like(grid, 0.1)], -1).astype(np.float16)
    row = {
        "frame_index": 5,
        "pts": 0.2,
        "dense": dense.ravel(),
        "dense_shape": list(dense.shape),
        "saliency": (0.9 * (grid > 100)).astype(np.float16).ravel(),
        "saliency_shape": [9, 16],
    }
    columns = ("dense", "dense_shape", "saliency", "saliency_shape")
    return image, {"frames": pa.Table.from_pylist([row], schema("frames", columns))}


def rows(stage, given):
    table = stage.process(given).tables["objects"]
    assert table.schema == schema("objects", objects.COLUMNS)
    return table.to_pylist()


def test_named_and_unnamed_objects_in_stored_pixels():
    image, tables = two_blobs()
    detector = Fixed(([15, 18, 64, 52], 0.8, "car"))
    stage = Objects({"detector": detector, "segmenter": Thresholds()}, Request())
    found = rows(stage, window(image, tables, scale=2))
    assert {row["origin"] for row in found} == {"detector", "automatic"}
    assert [row["object_id"] for row in found] == [0, 1]
    by_origin = {row["origin"]: row for row in found}
    car, other = by_origin["detector"], by_origin["automatic"]
    assert (car["label"], other["label"]) == ("car", "object")
    assert car["box_xyxy"] == [40, 40, 120, 100]  # the mask's box, not the detector's
    assert other["box_xyxy"] == [200, 60, 260, 140]
    assert (car["area_px"], other["area_px"]) == (80 * 60, 60 * 80)
    for row in found:
        mask = coco.decode(row["mask_rle"])
        assert mask.shape == (180, 320)
        assert mask.sum() == row["area_px"]
        assert abs(np.linalg.norm(row["embedding"]) - 1) < 1e-3
        assert 0 < row["confidence"] <= 1


def test_what_the_detector_doubts_is_an_unnamed_object_where_a_mask_stands_out():
    image, tables = two_blobs()
    image[10:20, 140:150] = 220  # one cell, which is too small a region to be proposed
    dense = tables["frames"]["dense"].to_numpy()[0].reshape(9, 16, 3).copy()
    dense[1, 14] = dense[4, 4]
    at = tables["frames"].column_names.index("dense")
    value = pa.array([dense.ravel()], tables["frames"].schema.field("dense").type)
    tables["frames"] = tables["frames"].set_column(at, "dense", value)
    small = ([138, 8, 152, 21], 0.12, "dog")
    inside_car, background = ([22, 20, 60, 50], 0.1, "dog"), ([70, 60, 90, 80], 0.1, "dog")
    detector = Fixed(([15, 18, 64, 52], 0.8, "car"), background, small, inside_car)
    found = rows(
        Objects({"detector": detector, "segmenter": Thresholds()}, Request()),
        window(image, tables),
    )
    boxes = [row["box_xyxy"] for row in found if row["label"] == "object"]
    assert [140, 10, 150, 20] in boxes
    assert not any(box[0] >= 60 and box[2] <= 95 for box in boxes)  # nothing stands out there
    dogs = Objects({"detector": detector, "segmenter": Thresholds()}, Request(concepts=("dog",)))
    assert rows(dogs, window(image, tables)) == []


def test_what_is_missing_is_null_and_not_invented():
    image, tables = two_blobs()
    detector = Fixed(([15, 18, 64, 52], 0.8, "car"))
    (alone,) = rows(Objects({"detector": detector}, Request()), window(image, tables))
    assert alone["mask_rle"] is None
    assert alone["mask_confidence"] is None
    assert alone["area_px"] == 49 * 34
    models = {"detector": detector, "segmenter": Thresholds()}
    (blind,) = rows(Objects(models, Request()), window(image))
    assert blind["origin"] == "detector"
    assert blind["embedding"] is None
    assert rows(Objects({"detector": Fixed()}, Request()), window(image)) == []


def test_a_weak_detection_of_background_is_dropped():
    image, tables = two_blobs()
    image = np.full_like(image, 255)
    whole = ([0, 0, 160, 90], 0.4, "dog")
    stage = Objects({"detector": Fixed(whole), "segmenter": Thresholds()}, Request())
    assert "dog" not in {row["label"] for row in rows(stage, window(image, tables))}


def test_concepts_restrict_extend_and_say_what_is_unknown(caplog):
    image, tables = two_blobs()
    detector = Fixed(([15, 18, 64, 52], 0.8, "car"), ([98, 28, 132, 72], 0.7, "dog"))
    request = Request(concepts=("Cars", "dragon"))
    with caplog.at_level(logging.WARNING):
        stage = Objects({"detector": detector, "segmenter": Thresholds()}, request)
    assert "dragon" in caplog.text
    with noted() as notes:
        car, nameless = sorted(rows(stage, window(image, tables)), key=lambda row: row["label"])
    assert (car["label"], car["origin"]) == ("car", "concept")
    # The dragon may be what has no name.
    assert (nameless["label"], nameless["origin"]) == ("object", "automatic")
    assert "'dragon'" in notes[0]
    assert "Cars" not in "".join(notes)
    stage = Objects({"detector": detector, "segmenter": Thresholds()}, Request(concepts=("Cars",)))
    with noted() as notes:
        assert [row["label"] for row in rows(stage, window(image, tables))] == ["car"]
    assert not notes
    caplog.clear()
    stage = Objects({"detector": detector, "segmenter": Reads()}, request)
    assert not caplog.text
    labels = {row["label"] for row in rows(stage, window(image, tables))}
    assert labels == {"car", "dragon"}


@pytest.mark.weights
def test_words_near_a_label_map_to_it_and_others_do_not():
    embedder = loader.load(loader.resolve("embedded").models["text_embedder"])
    labels = ("person", "bicycle", "car", "truck", "dog", "sports ball", "bottle", "knife")
    asked = ("man", "automobile", "vehicle", "puppy", "people", "gun", "barrel", "dragon")
    mapping, unmapped = map_concepts(asked, labels, embedder)
    assert mapping["man"] == mapping["people"] == ("person",)
    assert mapping["automobile"] == ("car",)
    assert set(mapping["vehicle"]) == {"car", "truck"}
    assert mapping["puppy"] == ("dog",)
    assert unmapped == ("gun", "barrel", "dragon")


def test_a_list_of_concepts_is_named():
    with Engine("embedded") as engine:
        asked = engine.plan(concepts=["dragon", "@game", "door"]).request.concepts
        assert asked[:2] == ("dragon", "player character")
        assert set(asked) == {"dragon", *LISTS["game"]}
        assert len(set(asked)) == len(asked)
        with pytest.raises(UsageError, match=r"called @games; there are @game, @general"):
            engine.plan(concepts=["@games"])


def test_motion_against_the_camera_is_evidence():
    size = (320, 180)
    flow = np.tile(np.array([6.0, 2.0], np.float16), (18, 32, 1))
    flow[6:11, 8:13] += np.array([30.0, 0.0], np.float16)
    shift = [1, 0, 6, 0, 1, 2, 0, 0, 1]
    row = {
        "frame_index": 5,
        "pts": 0.2,
        "flow": flow.ravel(),
        "flow_shape": [18, 32, 2],
        "flow_confidence": np.ones(18 * 32, np.float16),
        "camera_homography": shift,
    }
    table = pa.Table.from_pylist([row], schema("motion", set(row) - {"frame_index", "pts"}))
    moving = objects._motion(table, size)
    (box,) = level_boxes(moving, (0.5,))
    # Where the cells are now: 36 px right and 2 px down of where they were.
    assert np.allclose(box * np.tile(size, 2), [80 + 36, 60 + 2, 130 + 36, 110 + 2], atol=10)
    assert objects._motion(table.set_column(5, "camera_homography", pa.nulls(1)), size) is None


def test_feature_regions_find_a_thing_of_its_own_texture():
    dense = np.random.default_rng(0).normal(0, 0.1, (18, 32, 8))
    dense[..., 0] += 1
    dense[5:9, 20:26, 0] -= 1
    dense[5:9, 20:26, 1] += 1
    assert np.allclose(feature_boxes(dense, 5)[0] * [32, 18, 32, 18], [20, 5, 26, 9])


def test_parts_repeats_and_specks_go():
    whole, part, other = (np.zeros((80, 80), bool) for _ in range(3))
    whole[10:50, 10:50] = True
    part[10:30, 10:50] = True
    other[60:75, 60:75] = True

    def instance(mask, confidence):
        return Instance("object", confidence, "automatic", np.zeros(4, np.float32), mask)

    def kept(*instances, named=()):
        return [i.confidence for i in distinct(instances, named)]

    assert kept(instance(whole, 0.8), instance(whole, 0.7), instance(other, 0.6)) == [0.8, 0.6]
    corner = np.zeros((80, 80), bool)
    corner[10:30, 10:30] = True
    assert kept(instance(part, 0.8), instance(corner, 0.7)) == [0.8]
    assert kept(instance(corner, 0.8), instance(whole, 0.7)) == [0.7]
    assert kept(instance(corner, 0.9), instance(whole, 0.5)) == [0.9]
    group = corner | other
    assert kept(instance(corner, 0.8), instance(other, 0.8), instance(group, 0.75)) == [0.8, 0.8]
    assert kept(instance(corner, 0.9), named=[instance(whole, 0.3)]) == []
    speckled = whole.copy()
    speckled[70, 5] = True
    assert np.array_equal(tidy(speckled), whole)
    assert Evidence().objectness(whole) == 0


def test_features_rows_hold_their_shapes():
    class Grid:
        def embed(self, images):
            dense = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
            whole = objects_features(dense)
            return [replace(whole, saliency_hw=None) for _ in images]

    def objects_features(dense):
        return features.ImageFeatures(np.eye(4, dtype=np.float32)[0], dense, None)

    table = Features({"image_embedder": Grid()}, Request()).process(
        window(np.zeros((20, 30, 3), np.uint8))
    )
    (row,) = table.tables["frames"].to_pylist()
    assert row["dense_shape"] == [2, 3, 4]
    assert np.array_equal(row["dense"], np.arange(24))
    assert len(row["edges"]) == 6
    assert row["saliency"] is None
    assert row["saliency_shape"] is None


@pytest.mark.weights
def test_the_main_object_of_a_real_frame_is_found(shared_data):
    models = loader.resolve("embedded").models
    loaded = {r: loader.load(models[r]) for r in ("image_embedder", "detector", "segmenter")}
    found = []
    for clip, index in (("blackswan", 30), ("dog", 10), ("car-shadow", 20)):
        name = f"480p/{clip}/{index:05d}"
        folder = shared_data / "davis2016"
        path = str(folder / "JPEGImages" / f"{name}.jpg")
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        truth = cv2.imread(str(folder / "Annotations" / f"{name}.png"), 0) > 0
        tables = Features(loaded, Request()).process(window(image)).tables
        table = rows(Objects(loaded, Request()), window(image, {"frames": tables["frames"]}))
        assert len(table) <= 8
        masks = [coco.decode(row["mask_rle"]).astype(bool) for row in table]
        found.append(max((m & truth).sum() / (m | truth).sum() for m in masks))
    assert min(found) > 0.85
