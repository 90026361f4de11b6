"""Average precision agrees with pycocotools' COCOeval, whole and on a subset of frames."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stpe.evaluate.overlap import box_iou
from stpe.evaluate.scorers.detection import OVERLAPS, average_precision, greedy


def _scene(random, frames):
    """(true boxes, found boxes, confidences) of each frame, xyxy, best found first."""
    made = []
    for _ in range(frames):
        corner = random.uniform(0, 200, (random.integers(0, 6), 2))
        true = np.concatenate([corner, corner + random.uniform(20, 80, corner.shape)], axis=1)
        close = true[random.uniform(size=len(true)) < 0.8]
        close = close + random.normal(0, 4, close.shape)
        false = random.uniform(0, 100, (random.integers(0, 4), 4))
        false[:, 2:] += 110
        found = np.concatenate([close, false])
        confidence = random.uniform(size=len(found))
        order = np.argsort(-confidence)
        made.append((true, found[order], confidence[order]))
    return made


def _coco(scene, overlaps):
    def xywh(box):
        return [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])]

    truth, found = [], []
    for image, (true, boxes, confidence) in enumerate(scene, start=1):
        for box in true:
            x = xywh(box)
            truth.append(
                {"id": len(truth) + 1, "image_id": image, "category_id": 1, "bbox": x,
                 "area": x[2] * x[3], "iscrowd": 0}
            )  # fmt: skip
        for box, score in zip(boxes, confidence, strict=True):
            found.append(
                {"image_id": image, "category_id": 1, "bbox": xywh(box), "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = {
            "info": {},
            "images": [{"id": i + 1} for i in range(len(scene))],
            "categories": [{"id": 1}],
            "annotations": truth,
        }
        api.createIndex()
        judge = COCOeval(api, api.loadRes(found), "bbox")
        judge.params.iouThrs = overlaps
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    return float(judge.eval["precision"][:, :, 0, 0, -1].mean())


@pytest.mark.parametrize("seed", range(4))
def test_ap_agrees_with_coco(seed):
    scene = _scene(np.random.default_rng(seed), 20)
    figure = average_precision(
        np.arange(20) // 2,
        [box_iou(true, found) for true, found, _ in scene],
        [confidence for _, _, confidence in scene],
        np.array([float(len(true)) for true, _, _ in scene]),
        OVERLAPS,
    )
    assert figure(np.ones(10)) == pytest.approx(_coco(scene, OVERLAPS), abs=1e-4)
    half = (np.arange(10) < 5).astype(float)
    assert figure(half) == pytest.approx(_coco(scene[:10], OVERLAPS), abs=1e-4)


def test_the_surer_of_two_found_boxes_takes_the_true_one():
    overlap = np.array([[0.6, 0.9]])
    assert greedy(overlap, 0.5).tolist() == [[True, False]]
    assert greedy(overlap, 0.7).tolist() == [[False, True]]
