"""Optical flow on Middlebury: the default and RAFT against OpenCV's own presets.

Error is the end-point error in pixels, averaged over the pixels of each pair and then over pairs.
An outlier is off by more than 3 px and by more than 5 % of the true motion.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stpe.models import loader

SAMPLING = "all pairs whole"
Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
UNKNOWN = 1e9  # the format's mark of pixels without truth


def run(data: Path) -> list[dict[str, Any]]:
    """Rows of our two models, each against every baseline."""
    pairs = [_pair(p) for p in sorted((data / "middlebury_flow").iterdir()) if p.is_dir()]
    ours = {name: _score(_model(name), pairs) for name in ("dis", "raft-things")}
    baselines = {name: _score(method, pairs) for name, method in _opencv().items()}
    return [
        {
            "set": "middlebury_flow",
            "metric": metric,
            "ours": result[i],
            "baseline": baseline,
            "baseline_value": value[i],
            "n": len(pairs),
            "note": "default" if name == "dis" else f"flow={name}",
        }
        for name, result in ours.items()
        for baseline, value in baselines.items()
        for i, metric in enumerate(("EPE px", "outliers %"))
    ]


def _pair(folder: Path) -> Pair:
    a, b = (
        cv2.cvtColor(cv2.imread(str(folder / f"frame{i}.png")), cv2.COLOR_BGR2RGB) for i in (10, 11)
    )
    return a, b, cv2.readOpticalFlow(str(folder / "flow10.flo"))


def _score(method: Method, pairs: list[Pair]) -> tuple[float, float]:
    errors, outliers = [], []
    for a, b, truth in pairs:
        known = (np.abs(truth) < UNKNOWN).all(axis=2)
        error = np.linalg.norm(method(a, b) - truth, axis=2)[known]
        size = np.linalg.norm(truth, axis=2)[known]
        errors.append(error.mean())
        outliers.append(100 * ((error > 3) & (error > 0.05 * size)).mean())
    return float(np.mean(errors)), float(np.mean(outliers))


def _model(name: str) -> Method:
    selection = loader.resolve("embedded", {"flow": name})
    return loader.load(selection.models["flow"]).flow


def _opencv() -> dict[str, Method]:
    def gray(method: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Method:
        return lambda a, b: method(*(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (a, b)))

    def dis(preset: int) -> Method:
        return gray(lambda a, b: cv2.DISOpticalFlow.create(preset).calc(a, b, None))

    return {
        "OpenCV DIS ultrafast": dis(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST),
        "OpenCV DIS fast": dis(cv2.DISOPTICAL_FLOW_PRESET_FAST),
        "OpenCV DIS medium": dis(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
        "OpenCV Farneback": gray(
            lambda a, b: cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        ),
    }
