"""SAM 3's concept detector, decoding many concepts on one image encoding.

transformers decodes one prompt an image, and always its masks. Here what no word changes is
computed once an image: the vision features, the fusion encoder's first self-attention and, in the
mask decoder, the convolution of the skip connections. Masks are decoded only for concepts that
are present, and only of the instances that are kept. The numbers are those of Sam3Model.

Legend: P prompts, L words, Q queries, K of them kept, S vision tokens, D features, hw the coarsest
grid, HW the finest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stpe.models.torch_runtime.network import import_torch
from stpe.models.torch_runtime.transformers_module import from_transformers

if TYPE_CHECKING:
    import torch

_EDGE = 1e-3  # the detector's own bound where it inverts a sigmoid


@dataclass(frozen=True)
class Found:
    """Instances of one prompt: scores in 0..1, boxes xyxy in 0..1, masks' logits."""

    scores_K: torch.Tensor
    boxes_K4: torch.Tensor
    logits_KHW: torch.Tensor


class Scene:
    """One image as the detector sees it before any word.

    Args:
        levels: the feature pyramid of one image, finest first, as the mask decoder takes it.
        place_1Dhw: position encoding of the coarsest level.
    """

    def __init__(self, levels: list[torch.Tensor], place_1Dhw: torch.Tensor) -> None:
        self.levels = levels
        self._place = place_1Dhw
        self._tokens: tuple[torch.Tensor, torch.Tensor] | None = None
        self._skips: list[torch.Tensor] | None = None

    def tokens(self, model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Features after the first self-attention, and their positions, both 1 x S x D."""
        if self._tokens is None:
            features, place = (x.flatten(2).transpose(1, 2) for x in (self.levels[-1], self._place))
            first = model.detr_encoder.layers[0]
            normed = first.layer_norm1(features)
            features = features + first.self_attn(normed + place, normed + place, normed)[0]
            self._tokens = features, place
        return self._tokens

    def skips(self, model: Any) -> list[torch.Tensor]:
        """What each finer level adds in the mask decoder, coarsest first."""
        if self._skips is None:
            convolutions = model.mask_decoder.pixel_decoder.conv_layers
            finer = self.levels[-2::-1]  # the last convolutions have no level and do nothing
            self._skips = [conv(level) for conv, level in zip(convolutions, finer, strict=False)]
        return self._skips

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that is held now."""
        return [*self.levels, self._place, *(self._tokens or ()), *(self._skips or ())]


def decode(
    model: Any, scene: Scene, words_PLD: torch.Tensor, valid_PL: torch.Tensor, threshold: float
) -> list[Found]:
    """Instances of each prompt whose score exceeds `threshold`.

    Args:
        model: a Sam3Model.
        scene: of its features.
        words_PLD: projected text features.
        valid_PL: bool, False for padding.
        threshold: on query score times presence.
    """
    longest = int(valid_PL.sum(1).max())  # what is padded only, nothing attends to
    words_PLD, valid_PL = words_PLD[:, :longest], valid_PL[:, :longest]
    decoder = model.detr_decoder
    decoder._get_rpb_matrix = partial(_box_bias, decoder.box_rpb_embed_y, decoder.box_rpb_embed_x)
    fused_PSD, place_PSD, shape = _fuse(model, scene, words_PLD, valid_PL)
    decoded = decoder(
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
    keep_PQ = scores_PQ > threshold
    found = []
    for p in range(len(words_PLD)):
        keep, one = keep_PQ[p], slice(p, p + 1)
        masks = scores_PQ.new_zeros((0, *scene.levels[0].shape[-2:]))
        if bool(keep.any()):
            prompt = fused_PSD[one], words_PLD[one], valid_PL[one]
            masks = _masks(model, scene, queries_PQD[p, keep], *prompt)
        found.append(Found(scores_PQ[p, keep], boxes_PQ4[p, keep], masks.float()))
    return found


def _fuse(
    model: Any, scene: Scene, words_PLD: torch.Tensor, valid_PL: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The fusion encoder: (features, positions, grid shape)."""
    create_bidirectional_mask = from_transformers("create_bidirectional_mask", "masking_utils")

    torch = import_torch()
    encoder = model.detr_encoder
    features, place = (x.expand(len(words_PLD), -1, -1) for x in scene.tokens(model))
    first = encoder.layers[0]
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
    shape = torch.tensor([scene.levels[-1].shape[-2:]], device=features.device)
    return features, place, shape


def _boxes(model: Any, queries_PQD: torch.Tensor, reference_PQ4: torch.Tensor) -> torch.Tensor:
    torch = import_torch()
    offsets = model.detr_decoder.box_head(queries_PQD).float()
    reference = reference_PQ4.float()
    reference = (reference.clamp(min=_EDGE) / (1 - reference).clamp(min=_EDGE)).log()
    x, y, width, height = (reference + offsets).sigmoid().unbind(-1)
    corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return torch.stack(corners, -1)


def _box_bias(
    embed_y: Any, embed_x: Any, boxes_PQ4: torch.Tensor, shape: tuple[Any, Any]
) -> torch.Tensor:
    """What the decoder adds to its attention, from where a token lies to a query's box (xywh):
    P x heads x Q x S. It is a row's share plus a column's, laid out at once as attention takes it.
    """
    torch = import_torch()
    x, y, width, height = boxes_PQ4.unbind(-1)
    shares = []
    for middle, extent, cells, embed in (
        (y, height, int(shape[0]), embed_y),
        (x, width, int(shape[1]), embed_x),
    ):
        at = torch.arange(cells, device=x.device, dtype=x.dtype) / cells
        edges = torch.stack([middle - extent / 2, middle + extent / 2], -1)
        offsets = 8 * (at[:, None] - edges[:, :, None])
        scaled = offsets.sign() * (offsets.abs() + 1).log2() / 3
        shares.append(embed(scaled).permute(0, 3, 1, 2))
    rows, columns = shares
    return (rows[..., None] + columns[..., None, :]).flatten(3)


def _masks(
    model: Any,
    scene: Scene,
    queries_KD: torch.Tensor,
    fused_1SD: torch.Tensor,
    words_1LD: torch.Tensor,
    valid_1L: torch.Tensor,
) -> torch.Tensor:
    """The mask decoder for the kept queries of one prompt: logits K x H x W.

    Two of its steps are linear and taken apart: a convolution of "enlarged map plus skip" is that
    of each, the skip's being the same for every prompt; and the projection of every pixel is
    instead applied to the few queries.
    """
    create_bidirectional_mask = from_transformers("create_bidirectional_mask", "masking_utils")

    torch = import_torch()
    decoder = model.mask_decoder
    normed = decoder.prompt_cross_attn_norm(fused_1SD)
    mask = create_bidirectional_mask(
        config=decoder.config,
        inputs_embeds=normed,
        attention_mask=valid_1L,
        encoder_hidden_states=words_1LD,
    )
    attended = decoder.prompt_cross_attn(normed, words_1LD, words_1LD, attention_mask=mask)[0]
    pixels = (fused_1SD + attended).transpose(1, 2).unflatten(2, scene.levels[-1].shape[-2:])
    pyramid = decoder.pixel_decoder
    for conv, norm, skip in zip(
        pyramid.conv_layers, pyramid.norms, scene.skips(model), strict=False
    ):
        pixels = norm(_enlarged_and_convolved(conv.weight, pixels) + skip).relu_()
    embedded_KD = decoder.mask_embedder(queries_KD)
    projection = decoder.instance_projection
    onto_KD = embedded_KD @ projection.weight[:, :, 0, 0]
    return (
        torch.einsum("kd,dhw->khw", onto_KD, pixels[0])
        + (embedded_KD @ projection.bias)[:, None, None]
    )


def _enlarged_and_convolved(weight_OI33: torch.Tensor, maps_1Ihw: torch.Tensor) -> torch.Tensor:
    """The 3x3 convolution of a map repeated to twice its size: 1 x O x 2h x 2w, without a bias.

    Each pixel of it sees only 2x2 pixels of the small map, so it is a transposed convolution of
    4x4 with a stride of 2, in less than half of the multiplications.
    """
    torch = import_torch()
    pairs = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    pairs = pairs.to(weight_OI33)
    weight_IO44 = torch.einsum("oiyx,ay,bx->ioab", weight_OI33, pairs, pairs)
    return torch.nn.functional.conv_transpose2d(maps_1Ihw, weight_IO44, stride=2, padding=1)
