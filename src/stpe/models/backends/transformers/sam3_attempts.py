"""Work of a SAM 3 session that can be tried again: where memory runs out, what was changed is
undone, and the next try works on fewer words and objects at once."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stpe.models.torch_runtime.network import import_torch

if TYPE_CHECKING:
    import torch


class AtOnce:
    """How many words are decoded, and how many objects' memories encoded, at once."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.objects: int | None = None

    def halved(self, words: int, objects: int) -> str | None:
        """After a try with so many, half of them, in words; None where nothing can be halved."""
        words = min(words, self.words)
        objects = objects if self.objects is None else min(objects, self.objects)
        parts = []
        if words > 1:
            self.words = words // 2
            parts.append(f"{self.words} words")
        if objects > 1:
            self.objects = objects // 2
            parts.append(f"{self.objects} objects")
        return f"now at most {' and '.join(parts)} at once" if parts else None

    def bind(self, tracker: Any) -> None:
        """Make a Sam3TrackerVideoModel encode no more memories at once. It goes through the
        objects one by one by itself; only this it does for all together."""
        encode = type(tracker)._encode_new_memory.__get__(tracker)
        most = self.objects
        tracker._encode_new_memory = encode if most is None else _in_parts(encode, most)


def _in_parts(encode: Callable[..., Any], most: int) -> Callable[..., Any]:
    def encode_new_memory(
        current_vision_feats: torch.Tensor,
        pred_masks_high_res: torch.Tensor,
        object_score_logits: torch.Tensor,
        is_mask_from_pts: bool,
    ) -> tuple[torch.Tensor, ...]:
        one_for_all = current_vision_feats.shape[1] == 1
        features, places = [], []
        for start in range(0, len(pred_masks_high_res), most):
            part = slice(start, start + most)
            seen = current_vision_feats if one_for_all else current_vision_feats[:, part]
            feature, place = encode(
                seen, pred_masks_high_res[part], object_score_logits[part], is_mask_from_pts
            )
            features.append(feature)
            places.append(place)
        cat = import_torch().cat
        return cat(features, 1), cat(places, 1)

    return encode_new_memory


class Undo:
    """Brings objects back to what they held when this was made. Tensors in them are taken to be
    replaced, never written to."""

    def __init__(self, *owners: Any) -> None:
        self._before = [(owner, _copied(vars(owner))) for owner in owners]

    def __call__(self) -> None:
        """Once."""
        for owner, held in self._before:
            vars(owner).clear()
            vars(owner).update(held)


def _copied(node: Any) -> Any:
    """Containers anew, what they hold shared."""
    if isinstance(node, dict):
        fresh = copy.copy(node)  # of its own class, with its default
        fresh.update({key: _copied(value) for key, value in node.items()})
        return fresh
    if isinstance(node, list | set | deque):
        return type(node)(map(_copied, node))
    return node
