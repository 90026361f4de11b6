"""The pose stage: joints in stored pixels, for the person whose box they fit, and for no other."""

import json

import cv2
import numpy as np
import pyarrow as pa
import pytest

from stpe.models import loader
from stpe.signals import schema
from stpe.stages.pose import COLUMNS, Pose
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import Frame, SourceInfo

#: How far each COCO joint may be off, as a share of the person's size (COCO's own figures).
SIGMA_17 = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000


class NeverAsked:
    def estimate(self, *_):
        raise AssertionError("the model was asked about a frame without people")


def window(image, rows, scale=1):
    height, width = image.shape[:2]
    info = SourceInfo("v", "file", "0", width * scale, height * scale, 25.0, 1.0, 25)
    table = pa.Table.from_pylist(
        [{"frame_index": 7, "object_id": i, **row} for i, row in enumerate(rows)],
        schema("objects", ["box_xyxy", "label"]),
    )
    return Window(info, Span(0, 0.0, 1.0), (Frame(7, 0.3, image),), 0, 1, {"objects": table})


def similarity(joints_173, annotation):
    truth = np.array(annotation["keypoints"]).reshape(17, 3)
    seen = truth[:, 2] > 0
    squared = ((joints_173[:, :2] - truth[:, :2]) ** 2).sum(axis=1)
    return np.exp(-squared / (2 * annotation["area"] * (2 * SIGMA_17) ** 2))[seen].mean()


@pytest.mark.weights
def test_people_get_their_own_joints_in_stored_pixels(shared_data):
    stage = Pose({"pose": loader.load(loader.resolve("embedded").models["pose"])}, Request())
    folder = shared_data / "coco_person_mini"
    truth = json.loads((folder / "test_coco.json").read_text())
    scores = []
    for entry in truth["images"]:
        image = cv2.cvtColor(cv2.imread(str(folder / entry["file_name"])), cv2.COLOR_BGR2RGB)
        people = [
            a
            for a in truth["annotations"]
            if a["image_id"] == entry["id"] and a["num_keypoints"] > 0
        ]
        rows = [{"label": "chair", "box_xyxy": [0, 0, 30, 40]}]
        for person in people:
            x, y, w, h = (2 * v for v in person["bbox"])  # stored twice as large as looked at
            rows.append({"label": "person", "box_xyxy": [x, y, x + w, y + h]})
        table = stage.process(window(image, rows, scale=2)).tables["objects"]
        assert table.schema == schema("objects", COLUMNS)
        found = table.to_pylist()
        assert [row["object_id"] for row in found] == list(range(len(rows)))
        assert found[0]["keypoints"] is None
        assert found[0]["keypoints_confidence"] is None
        for row, person in zip(found[1:], people, strict=True):
            if row["keypoints"] is None:
                scores.append(0.0)
                continue
            joints = np.array(row["keypoints"]).reshape(17, 3)
            assert abs(joints[:, 2].mean() - row["keypoints_confidence"]) < 1e-5
            joints[:, :2] /= 2
            scores.append(similarity(joints, person))
    assert len(scores) == 12
    assert np.mean(scores) > 0.7


def test_a_frame_without_people_costs_nothing():
    image = np.zeros((40, 60, 3), np.uint8)
    stage = Pose({"pose": NeverAsked()}, Request())
    chair = {"label": "chair", "box_xyxy": [0.0, 0.0, 9.0, 9.0]}
    rows = stage.process(window(image, [chair])).tables["objects"].to_pylist()
    assert [row["keypoints"] for row in rows] == [None]
    assert stage.process(window(image, [])).tables["objects"].num_rows == 0
