"""What SAM 3's detector finds of words in a frame of a video, ready to be matched with objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stpe.models.backends.transformers.sam3_concepts import decode
from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.backends.transformers.sam3_text import ConceptTexts
from stpe.models.backends.transformers.sam3_tidy import distinct, overlaps
from stpe.models.torch_runtime.network import import_torch

if TYPE_CHECKING:
    import torch


def detect(
    model: Any,
    texts: ConceptTexts,
    look: Look,
    words: Mapping[int, str],
    at_once: int,
    claimed: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[int, int]]:
    """Scores and masks' logits, as Sam3VideoModel has them, and the number of each one's word.

    Args:
        model: a Sam3VideoModel.
        words: by number.
        at_once: words decoded together.
        claimed: per word, logits of objects that are followed otherwise; what lies on them is
            left out.
    """
    torch = import_torch()
    logits = [torch.zeros(0, *look.scene.levels[0].shape[-2:], device=model.device)]
    scores = [torch.zeros(0, device=model.device)]
    owners: list[int] = []
    numbers = list(words)
    for start in range(0, len(numbers), at_once):
        batch = numbers[start : start + at_once]
        features = texts.features([words[number] for number in batch])
        threshold = model.score_threshold_detection
        decoded = decode(model.detector_model, look.scene, *features, threshold)
        for number, each in zip(batch, decoded, strict=True):
            keep = torch.ones(len(each.scores_K), dtype=torch.bool, device=model.device)
            if model.det_nms_thresh > 0:
                keep = distinct(each.scores_K, each.logits_KHW, model.det_nms_thresh)
            if words[number] in claimed:
                iou = overlaps(each.logits_KHW > 0, claimed[words[number]] > 0)
                keep &= ~(iou >= model.trk_assoc_iou_thresh).any(1)
            logits.append(each.logits_KHW[keep])
            scores.append(each.scores_K[keep])
            owners += [number] * int(keep.sum())
    found = {"mask": torch.cat(logits), "scores": torch.cat(scores)}
    return found, dict(enumerate(owners))
