"""Tracking metrics agree with the reference tool's figures for the same files."""

import json
from pathlib import Path

import numpy as np
import pytest

from stpe.evaluate.overlap import box_iou
from stpe.evaluate.tracking import FramePair, score_tracking

CASES = [
    ("mot15_tud_campus", "motmetrics_test"),
    ("mot15_tud_campus", "masa_tracks"),
    ("mot15_pets09_s2l1", "masa_tracks"),
]


def read(path: Path, drop_ignored: bool) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    rows = np.loadtxt(path, delimiter=",")
    if drop_ignored:
        rows = rows[rows[:, 6] != 0]
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    return {
        int(f): (rows[rows[:, 0] == f, 1].astype(int), boxes[rows[:, 0] == f])
        for f in np.unique(rows[:, 0])
    }


@pytest.mark.parametrize(("clip", "peer"), CASES)
def test_agrees_with_trackeval(shared_data: Path, clip: str, peer: str) -> None:
    folder = shared_data / clip
    expected = json.loads((folder / "peer/expected_metrics.json").read_text())["results"][peer]
    truth = read(folder / "gt/gt.txt", drop_ignored=True)
    predicted = read(folder / f"peer/{peer}.txt", drop_ignored=False)
    nothing = (np.zeros(0, int), np.zeros((0, 4)))
    frames = []
    for frame in range(1, max(*truth, *predicted) + 1):
        t_ids, t_boxes = truth.get(frame, nothing)
        p_ids, p_boxes = predicted.get(frame, nothing)
        frames.append(FramePair(t_ids, p_ids, box_iou(t_boxes, p_boxes)))
    score = score_tracking(frames)
    reference = expected["trackeval"]
    found = {
        "HOTA": score.hota,
        "DetA": score.deta,
        "AssA": score.assa,
        "MOTA": score.mota,
        "MOTP": score.motp,
        "IDF1": score.idf1,
        "IDSW": score.id_switches,
        "CLR_FP": score.false_positives,
        "CLR_FN": score.misses,
    }
    assert found == pytest.approx(reference, abs=5e-5)


def frame(truth: list[int], predicted: list[int], similarity: list[list[float]]) -> FramePair:
    shape = (len(truth), len(predicted))
    return FramePair(np.array(truth, int), np.array(predicted, int), np.reshape(similarity, shape))


def test_perfect_empty_and_swapped() -> None:
    perfect = score_tracking([frame([7, 9], [1, 2], [[1, 0], [0, 1]])] * 4)
    assert (perfect.hota, perfect.mota, perfect.idf1) == (1, 1, 1)
    missed = score_tracking([frame([7], [], [])] * 4)
    assert (missed.hota, missed.mota, missed.idf1, missed.misses) == (0, 0, 0, 4)
    invented = score_tracking([frame([], [3], [])] * 4)
    assert (invented.false_positives, invented.hota, invented.idf1) == (4, 0, 0)
    swapped = score_tracking(
        [frame([7, 9], [1, 2], [[1, 0], [0, 1]])] * 2
        + [frame([7, 9], [1, 2], [[0, 1], [1, 0]])] * 2
    )
    assert swapped.id_switches == 2
    assert swapped.idf1 == pytest.approx(0.5)
    assert swapped.hota == pytest.approx(np.sqrt(1 / 3))  # TPA / (TPA + FNA + FPA) = 2 / 6
