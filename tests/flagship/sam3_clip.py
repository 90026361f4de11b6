"""A tiny SAM 3 for video, a clip for it, and what transformers itself makes of both."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from flagship_reference import SAM3, normalised, save_sam3, tiny_sam3

HEIGHT, WIDTH, SIDE = 96, 160, 112
TEXTS = ("person", "red ball")


class Clip:
    """A pattern that moves to the right."""

    def __init__(self, count: int) -> None:
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        waves = [np.sin(x / 7) * np.cos(y / 5), np.sin((x + y) / 11), np.cos(x / 3)]
        self.pattern = np.uint8(127 + 100 * np.stack(waves, -1))
        self.pts = [index / 25 for index in range(count)]

    def image(self, index: int) -> np.ndarray:
        return np.roll(self.pattern, 2 * index, axis=1)


def save_tiny_video_model(folder: Path, seed: int = 1, spread: float = 4.0) -> None:
    """Random weights that answer: scores around the threshold, masks neither full nor empty, and
    rules that come to bear within a few frames."""
    import torch
    import transformers

    config = tiny_sam3(SIDE, scale=4)
    config.max_num_objects = 6
    config.hotstart_delay, config.hotstart_unmatch_thresh, config.hotstart_dup_thresh = 4, 3, 3
    config.recondition_every_nth_frame = 3
    config.high_conf_thresh, config.high_iou_thresh, config.fill_hole_area = 0.2, 0.3, 3
    torch.manual_seed(seed)
    model = transformers.Sam3VideoModel(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(spread)
            else:
                weights.add_(torch.randn_like(weights) * 0.1)
        model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(3)
    save_sam3(model, folder)
    session = video_session(folder, Clip(1), TEXTS)
    with torch.inference_mode():
        pixels = session.get_frame(0)[None]
        vision = model.detector_model.get_vision_features(pixel_values=pixels)
        model.score_threshold_detection = model.det_nms_thresh = 0.0
        found = model.run_detection(session, vision)
    scores = torch.cat([each["scores"] for each in found.values()]).sort().values
    model.config.score_threshold_detection = model.config.new_det_thresh = float(scores[-8])
    model.config.save_pretrained(folder)


def video_session(folder: Path, clip: Clip, texts: tuple[str, ...]) -> Any:
    """A session of transformers on the clip."""
    import torch
    import transformers

    frames = [normalised(clip.image(i), SIDE, SIDE, "bilinear", SAM3) for i in range(len(clip.pts))]
    session = transformers.Sam3VideoInferenceSession(torch.cat(frames), dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in texts:
        words = tokenizer(text, padding="max_length", max_length=32, return_tensors="pt")
        number = session.add_prompt(text)
        session.prompt_input_ids[number] = words["input_ids"]
        session.prompt_attention_masks[number] = words["attention_mask"]
    return session


def kernel() -> Any:
    """What transformers loads from the hub, from its definition."""
    import torch

    def generic_nms(ious: Any, scores: Any, threshold: float, use_iou_matrix: bool) -> Any:
        assert use_iou_matrix
        kept: list[int] = []
        for i in scores.argsort(descending=True).tolist():
            if all(ious[i, j] <= threshold for j in kept):
                kept.append(i)
        return torch.tensor(kept)

    def cc_2d(masks: Any, get_counts: bool) -> tuple[Any, Any]:
        assert get_counts
        labels = np.stack(
            [cv2.connectedComponents(m[0].astype(np.uint8))[1].astype(int) for m in masks.numpy()]
        )
        counts = np.stack([np.bincount(each.ravel())[each] for each in labels])
        counts[labels == 0] = 0
        return torch.from_numpy(labels)[:, None], torch.from_numpy(counts)[:, None]

    return SimpleNamespace(generic_nms=generic_nms, cc_2d=cc_2d)


def apart(masks: dict[int, np.ndarray], ranks: dict[int, float]) -> dict[int, np.ndarray]:
    """Each pixel to the object of the highest rank."""
    ids = sorted(masks)
    claims = np.stack([np.where(masks[i], ranks[i], 0.0) for i in ids])
    winner = claims.argmax(0)
    return {i: masks[i] & (winner == n) for n, i in enumerate(ids)}


def grouped(ids: list[int], label_of: dict[int, int]) -> dict[int, list[int]]:
    """Ids by label."""
    groups = defaultdict(list)
    for each in ids:
        groups[label_of[each]].append(each)
    return groups
