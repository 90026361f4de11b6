"""RF-DETR and ViTPose through the real loading path equal direct transformers calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flagship_reference import normalised, tiny_rf_detr

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.models.backends.transformers import rf_detr  # noqa: E402

Save = Callable[..., tuple[Path, Any]]


def test_rf_detr_equals_transformers(save: Save, picture: np.ndarray) -> None:
    settings = {"resample": 2, "size": {"height": 112, "width": 112}}
    folder, model = save(
        "RfDetrForObjectDetection", tiny_rf_detr(["person", "car", "dog"]), settings
    )
    detector = rf_detr.load({"repository": folder}, {"dtype": "float32", "batch": 2})
    images = [picture, picture[:, ::-1].copy(), picture[::-1].copy()]
    with torch.inference_mode():
        pixels = torch.cat([normalised(image, 112, 112, "bilinear") for image in images])
        answer = model(pixel_values=pixels)
    scores, chosen = answer.logits.sigmoid().flatten(1).topk(10)
    threshold = float(scores[:, 4].mean())
    found = detector.detect(images, threshold)
    for i, detections in enumerate(found):
        count = int((scores[i] >= threshold).sum())
        assert len(detections) == count > 0
        np.testing.assert_allclose(detections.scores_N, scores[i, :count], atol=1e-4)
        assert detections.labels == tuple(detector.labels[c % 3] for c in chosen[i, :count])
        x, y, w, h = answer.pred_boxes[i, chosen[i, :count] // 3].unbind(-1)
        boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
        boxes = (boxes.clamp(0, 1) * torch.tensor([160, 96, 160, 96])).numpy()
        np.testing.assert_allclose(detections.boxes_N4, boxes, atol=1e-4 * 160)
    assert detector.labels == ("person", "car", "dog")
    assert all(len(d) == 0 for d in detector.detect(images, 1.1))
