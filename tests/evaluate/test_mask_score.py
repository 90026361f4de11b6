"""J and F agree with the DAVIS evaluation code's figures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from stpe.evaluate.masks import contour_accuracy, region_similarity


def load(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0


def test_agrees_with_davis_evaluation(shared_data: Path) -> None:
    folder = shared_data / "davis2016"
    expected = json.loads((folder / "peer_osvos/expected_J_F.json").read_text())
    clips = [p.name for p in (folder / "peer_osvos").iterdir() if p.is_dir()]
    assert clips
    for clip in clips:
        predictions = sorted((folder / "peer_osvos" / clip).glob("*.png"))[1:-1]
        pairs = [(load(folder / "Annotations/480p" / clip / p.name), load(p)) for p in predictions]
        found = {
            "J_mean": float(np.mean([region_similarity(*pair) for pair in pairs])),
            "F_mean": float(np.mean([contour_accuracy(*pair) for pair in pairs])),
        }
        assert found == pytest.approx(expected[clip], abs=5e-5), clip


def test_empty_masks() -> None:
    empty, full = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    full[5:15, 5:15] = True
    assert region_similarity(empty, empty) == contour_accuracy(empty, empty) == 1
    assert region_similarity(full, empty) == contour_accuracy(full, empty) == 0
