"""SAM 3's concept detector, decoding many concepts on one image encoding.

transformers decodes one prompt an image, and always its masks. Here the vision features are shared
by all prompts, so is the part of the fusion encoder that comes before any word (its first
self-attention), and masks are decoded only for concepts that are present, only of the instances
that are kept. The numbers are those of Sam3Model.

Legend: P prompts, L words, Q queries, S vision tokens, D features, hw the coarsest grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stpe.models.backends.transformers.runtime import import_torch

if TYPE_CHECKING:
    import torch

_EDGE = 1e-3  # the detector's own bound where it inverts a sigmoid


@dataclass(frozen=True)
class Found:
    """Instances of one prompt: scores in 0..1, boxes xyxy in 0..1, masks' probabilities."""

    scores_N: torch.Tensor
    boxes_N4: torch.Tensor
    masks_NHW: torch.Tensor


def decode(
    model: Any, vision: Any, words_PLD: torch.Tensor, valid_PL: torch.Tensor, threshold: float
) -> list[Found]:
    """Instances of each prompt whose score exceeds `threshold`.

    Args:
        model: a Sam3Model.
        vision: its vision encoder's output for one image.
        words_PLD: projected text features.
        valid_PL: bool, False for padding.
        threshold: on query score times presence.
    """
    levels = list(vision.fpn_hidden_states[:-1])
    place_1hwD = vision.fpn_position_encoding[-2]
    fused_PSD, place_PSD, shape = _fuse(model, levels[-1], place_1hwD, words_PLD, valid_PL)
    decoded = model.detr_decoder(
        vision_features=fused_PSD,
        text_features=words_PLD,
        vision_pos_encoding=place_PSD,
        text_mask=valid_PL,
        spatial_shapes=shape,
    )
    queries_PQD = decoded.intermediate_hidden_states[-1]
    logits = model.dot_product_scoring(queries_PQD[None], words_PLD, valid_PL)[0, ..., 0]
    presence_P1 = decoded.presence_logits[-1].float().sigmoid()
    scores_PQ = logits.float().sigmoid() * presence_P1
    boxes_PQ4 = _boxes(model, queries_PQD, decoded.reference_boxes[-1])
    found = []
    for p in range(len(words_PLD)):
        keep = scores_PQ[p] > threshold
        if bool(keep.any()):
            masks = model.mask_decoder(
                decoder_queries=queries_PQD[p : p + 1, keep],
                backbone_features=levels,
                encoder_hidden_states=fused_PSD[p : p + 1],
                prompt_features=words_PLD[p : p + 1],
                prompt_mask=valid_PL[p : p + 1],
            ).pred_masks[0]
        else:
            masks = scores_PQ.new_zeros((0, *levels[0].shape[-2:]))
        found.append(Found(scores_PQ[p, keep], boxes_PQ4[p, keep], masks.float().sigmoid()))
    return found


def _fuse(
    model: Any,
    features_1Dhw: torch.Tensor,
    place_1Dhw: torch.Tensor,
    words_PLD: torch.Tensor,
    valid_PL: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The fusion encoder: (features, positions, grid shape)."""
    from transformers.masking_utils import create_bidirectional_mask

    torch = import_torch()
    encoder = model.detr_encoder
    count = len(words_PLD)
    features, place = (x.flatten(2).transpose(1, 2) for x in (features_1Dhw, place_1Dhw))
    first = encoder.layers[0]
    normed = first.layer_norm1(features)
    features = features + first.self_attn(normed + place, normed + place, normed)[0]
    features, place = features.expand(count, -1, -1), place.expand(count, -1, -1)
    mask = create_bidirectional_mask(
        config=encoder.config,
        inputs_embeds=features,
        attention_mask=valid_PL,
        encoder_hidden_states=words_PLD,
    )
    normed = first.layer_norm2(features)
    features = features + first.cross_attn(normed, words_PLD, words_PLD, attention_mask=mask)[0]
    features = features + first.mlp(first.layer_norm3(features))
    for layer in encoder.layers[1:]:
        features = layer(features, words_PLD, place, prompt_cross_attn_mask=mask)
    shape = torch.tensor([features_1Dhw.shape[-2:]], device=features.device)
    return features, place, shape


def _boxes(model: Any, queries_PQD: torch.Tensor, reference_PQ4: torch.Tensor) -> torch.Tensor:
    torch = import_torch()
    offsets = model.detr_decoder.box_head(queries_PQD).float()
    reference = reference_PQ4.float()
    reference = (reference.clamp(min=_EDGE) / (1 - reference).clamp(min=_EDGE)).log()
    x, y, width, height = (reference + offsets).sigmoid().unbind(-1)
    corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return torch.stack(corners, -1)
