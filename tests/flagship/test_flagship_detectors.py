"""RF-DETR and ViTPose through the real loading path equal direct transformers calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flagship_reference import IMAGENET, normalised, tiny_rf_detr

torch = pytest.importorskip("torch", reason="the flagship extra is not installed")
transformers = pytest.importorskip("transformers", reason="the flagship extra is not installed")

from stpe.errors import ModelError  # noqa: E402
from stpe.models import coco  # noqa: E402
from stpe.models.backends.transformers import rf_detr, vitpose  # noqa: E402

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


def test_rf_detr_without_names_has_those_of_coco(save: Save, picture: np.ndarray) -> None:
    config = tiny_rf_detr([f"LABEL_{n}" for n in range(91)])
    settings = {"resample": 2, "size": {"height": 112, "width": 112}}
    folder, model = save("RfDetrForObjectDetection", config, settings)
    with torch.inference_mode():
        pixels = normalised(picture, 112, 112, "bilinear")
        scores, chosen = model(pixel_values=pixels).logits.sigmoid().flatten(1).topk(10)
    wanted = [coco.CATEGORIES[int(c) % 91] for c in chosen[0]]
    detector = rf_detr.load({"repository": folder}, {"dtype": "float32"})
    (found,) = detector.detect([picture], float(scores.min()))
    assert found.labels == tuple(name for name in wanted if name is not None)
    assert len(detector.labels) == 80
    assert detector.labels[11] == "stop sign"  # number 13: 12 was never used
    with pytest.raises(ModelError, match="names none of the 3 classes"):
        rf_detr.class_names({n: f"LABEL_{n}" for n in range(3)}, 3)


def sampled(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Bilinear, black outside."""
    value = np.zeros(3)
    for column in (int(np.floor(x)), int(np.floor(x)) + 1):
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                value += (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column]
    return value


@pytest.mark.parametrize("experts", [1, 3])
def test_vitpose_equals_transformers(save: Save, picture: np.ndarray, experts: int) -> None:
    backbone = {
        "model_type": "vitpose_backbone",
        "image_size": [64, 48],
        "patch_size": [16, 16],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "num_experts": experts,
        "part_features": 8,
        "out_indices": [2],
    }
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=17)
    folder, model = save("VitPoseForPoseEstimation", config)
    with torch.no_grad():  # heatmaps with peaks, as trained ones have
        model.head.conv.weight *= 20
        model.head.conv.bias += 0.5
    model.save_pretrained(folder)
    estimator = vitpose.load({"repository": folder}, {"dtype": "float32", "batch": 2})
    boxes = np.array([[20, 10, 60, 80], [100, 5, 170, 60], [0, 0, 160, 96]], np.float32)
    found = estimator.joints(picture, boxes)
    refined = 0
    assert found.shape == (3, 17, 3)
    for box, joints in zip(boxes.astype(float), found, strict=True):
        width = max(box[2] - box[0], (box[3] - box[1]) * 0.75)
        size = np.array([width, width / 0.75]) * 1.25
        corner = (box[:2] + box[2:]) / 2 - size / 2
        cut = np.array(
            [
                [sampled(picture, corner[0] + u * size[0] / 47, corner[1] + v * size[1] / 63)
                 for u in range(48)]
                for v in range(64)
            ]
        )  # fmt: skip
        pixels = (cut / 255 - IMAGENET["image_mean"]) / IMAGENET["image_std"]
        pixels = torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()
        more = {"dataset_index": torch.zeros(1, dtype=torch.long)} if experts > 1 else {}
        with torch.inference_mode():
            heat = model(pixel_values=pixels, **more).heatmaps[0].numpy()
        np.testing.assert_allclose(joints[:, 2], np.clip(heat.max((1, 2)), 0, 1), atol=1e-4)
        for (x, y, _), map_hw in zip(joints, heat, strict=True):
            row, column = np.unravel_index(map_hw.argmax(), map_hw.shape)
            smooth = cv2.GaussianBlur(map_hw, (3, 3), 0.8, borderType=cv2.BORDER_REPLICATE)
            s = np.pad(np.log(np.clip(smooth, 1e-3, 50)), 1, mode="edge")[
                row : row + 3, column : column + 3
            ]
            slope = np.array([s[1, 2] - s[1, 0], s[2, 1] - s[0, 1]]) / 2
            xy = (s[2, 2] - s[1, 2] - s[2, 1] + 2 * s[1, 1] - s[1, 0] - s[0, 1] + s[0, 0]) / 2
            bend = [[s[1, 2] - 2 * s[1, 1] + s[1, 0], xy], [xy, s[2, 1] - 2 * s[1, 1] + s[0, 1]]]
            move = np.linalg.solve(bend + np.eye(2) * np.finfo(np.float32).eps, slope)
            if np.abs(np.linalg.det(bend)) < 1e-5 or 0.9 < np.abs(move).max() < 1.1:
                continue  # rounding decides
            if np.abs(move).max() > 1:
                move = 0
            refined += 1
            place = corner + (np.array([column, row]) - move) * size / [
                map_hw.shape[1] - 1,
                map_hw.shape[0] - 1,
            ]
            np.testing.assert_allclose([x, y], place, atol=0.05)
    assert refined > 10
    (whole,) = estimator.estimate([picture], 0.0)
    (alone,) = estimator.joints(picture, boxes[2:])
    np.testing.assert_allclose(whole.keypoints_N173[0], alone, atol=1e-4)
    assert estimator.joints(picture, np.zeros((0, 4), np.float32)).shape == (0, 17, 3)
    # People of several frames are looked at together.
    passes = []
    estimator._network.model.register_forward_hook(lambda *_: passes.append(1))
    mirrored = picture[:, ::-1].copy()
    both = estimator.estimate([picture, mirrored], 0.0)
    assert len(passes) == 1
    for poses, image in zip(both, (picture, mirrored), strict=True):
        (alone,) = estimator.joints(image, boxes[2:])
        np.testing.assert_allclose(poses.keypoints_N173[0], alone, atol=1e-2)
