"""SAM 3 (Carion et al. 2025, arXiv 2511.16719): masks from words, boxes and points.

One pass of the vision backbone serves every prompt: the detector's neck feeds the words, the
tracker's neck, run when the first box or point comes, feeds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.backends.transformers.sam3_concepts import Scene, decode
from stpe.models.backends.transformers.sam3_text import ConceptTexts
from stpe.models.roles import F32, Detections, Masks
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.video.frame import ImageHW3

if TYPE_CHECKING:
    import torch


#: What may run in bfloat16. All after it tells places and is float32: a SAM 3 that is bfloat16
#: throughout has its position codes in it too, and was seen to miss objects
#: (github.com/huggingface/transformers/issues/46493, where float32 weights are the advice).
BACKBONE = "vision_encoder.backbone"


class Encoded:
    """One image's encoding, on the device: `tokens_1SD` are the backbone's, `scene` the detector's
    view of them, `levels` the tracker's features once they are needed."""

    def __init__(self, tokens_1SD: torch.Tensor, scene: Scene, height: int, width: int) -> None:
        self.tokens_1SD = tokens_1SD
        self.scene = scene
        self.height = height
        self.width = width
        self.levels: list[torch.Tensor] | None = None


@dataclass(frozen=True)
class _Instances:
    """What one concept names: scores, boxes in pixels of the image, masks at its size."""

    scores_K: F32
    boxes_K4: F32
    masks_KHW: NDArray[np.bool_]


#: Points P x 2 (x, y in pixels of the image) and their labels; without labels a box's two corners.
_Prompt = tuple[F32, NDArray[np.int32] | None]


class Sam3:
    """Roles Segmenter, prompted by words, boxes and points, and GuessedSegmenter.

    Args:
        detector: Sam3Model, which finds every instance of a concept.
        tracker: Sam3TrackerModel, which makes one mask a box or click; it shares the detector's
            vision backbone.
        prompts: prompts decoded at once, fewer where memory does not suffice for them.
    """

    accepts_text = True

    def __init__(self, detector: Network, tracker: Network, prompts: int) -> None:
        self._detector = detector
        self._tracker = tracker
        tracker.model.vision_encoder.backbone = detector.model.vision_encoder.backbone
        self._prompts = prompts
        self._settings = detector.processor()
        self._side = int(detector.config.vision_config.backbone_config.image_size)
        self._texts = ConceptTexts(detector, detector.config.text_config, lambda: detector.model)

    def encode(self, image: ImageHW3) -> Encoded:
        """Encode an image once for any number of prompts. Raises OutOfMemoryError, as all do."""
        height, width = image.shape[:2]

        def look() -> Encoded:
            pixels = self._detector.pixels([image], (self._side, self._side), self._settings)
            vision = self._detector.model.vision_encoder(pixels)
            levels, place = list(vision.fpn_hidden_states[:-1]), vision.fpn_position_encoding[-2]
            tokens = self._detector.kept(vision.last_hidden_state)
            return Encoded(tokens, Scene(levels, place), height, width)

        encoded: Encoded = self._detector.call(f"image of {width}x{height}", look)
        return encoded

    def from_text(
        self, encoded: Encoded, concepts: Sequence[str], threshold: float = 0.5
    ) -> tuple[Detections, Masks]:
        """Every instance of every concept whose score exceeds `threshold`, best first.

        The default is that of Meta's `Sam3Processor` (github.com/facebookresearch/sam3,
        sam3/model/sam3_image_processor.py, `confidence_threshold`).
        """
        found: list[_Instances] = self._detector.batched(
            concepts,
            partial(self._find, encoded, threshold),
            f"concept in {encoded.width}x{encoded.height}",
            self._prompts,
        )
        labels = [c for c, each in zip(concepts, found, strict=True) for _ in each.scores_K]
        if not labels:
            nothing = np.zeros((0, encoded.height, encoded.width), bool)
            empty = np.zeros(0, np.float32)
            return Detections(np.zeros((0, 4), np.float32), empty, ()), Masks(nothing, empty)
        scores_N = np.concatenate([each.scores_K for each in found])
        best = np.argsort(-scores_N, kind="stable")
        detections = Detections(
            np.concatenate([each.boxes_K4 for each in found])[best],
            scores_N[best],
            tuple(labels[i] for i in best),
        )
        masks_NHW = np.concatenate([each.masks_KHW for each in found])
        return detections, Masks(masks_NHW[best], scores_N[best])

    def _find(
        self, encoded: Encoded, threshold: float, concepts: Sequence[str]
    ) -> list[_Instances]:
        features = self._texts.features(concepts)
        size = np.array([encoded.width, encoded.height] * 2, np.float32)
        return [
            _Instances(
                each.scores_K.cpu().numpy(),
                np.clip(each.boxes_K4.cpu().numpy() * size, 0, size),
                (_enlarged(each.logits_KHW.sigmoid(), encoded) > 0.5).cpu().numpy(),
            )
            for each in decode(self._detector.model, encoded.scene, *features, threshold)
        ]

    def from_boxes(self, encoded: Encoded, boxes_N4: F32) -> Masks:
        """One mask a box (xyxy pixels of the encoded image)."""
        prompts = [(box, None) for box in np.asarray(boxes_N4, np.float32).reshape(-1, 2, 2)]
        return self._masks(encoded, prompts, "box")

    def from_points(self, encoded: Encoded, points_NP2: F32, labels_NP: NDArray[np.int32]) -> Masks:
        """One mask a prompt of P points (x, y pixels); label 1 foreground, 0 background.

        A single point is ambiguous (part, whole, group): of the three masks for it, the one with
        the best predicted IoU is returned.
        """
        points, labels = np.asarray(points_NP2, np.float32), np.asarray(labels_NP, np.int32)
        count = points.shape[1]
        kind = "point" if count == 1 else f"prompt of {count} points"
        return self._masks(encoded, list(zip(points, labels, strict=True)), kind)

    def candidates(self, encoded: Encoded, box_4: F32, points_P2: F32) -> Masks:
        """The masks considered for one object, told by a box (xyxy) and points on it together."""
        torch = import_torch()
        network = self._tracker
        scale = self._side / np.array([encoded.width, encoded.height], np.float32)
        box = np.asarray(box_4, np.float32).reshape(2, 2) * scale
        points = np.asarray(points_P2, np.float32) * scale

        def consider() -> Masks:
            answer = network.model(
                image_embeddings=self._levels(encoded),
                input_boxes=torch.from_numpy(box.reshape(1, 1, 4)).to(network.device),
                input_points=torch.from_numpy(points[None, None]).to(network.device),
                input_labels=torch.ones((1, 1, len(points)), dtype=torch.int32).to(network.device),
                multimask_output=True,
            )
            masks_NHW = (_enlarged(answer.pred_masks[0, 0].float(), encoded) > 0).cpu().numpy()
            return Masks(masks_NHW, answer.iou_scores[0, 0].float().clamp(0, 1).cpu().numpy())

        masks: Masks = network.call(f"object of {encoded.width}x{encoded.height}", consider)
        return masks

    def _masks(self, encoded: Encoded, prompts: Sequence[_Prompt], kind: str) -> Masks:
        found = self._tracker.batched(
            prompts,
            partial(self._prompted, encoded, kind),
            f"{kind} in {encoded.width}x{encoded.height}",
            self._prompts,
        )
        masks_NHW = np.zeros((len(found), encoded.height, encoded.width), bool)
        for mask_HW, (each_HW, _) in zip(masks_NHW, found, strict=True):
            mask_HW[:] = each_HW
        return Masks(masks_NHW, np.array([quality for _, quality in found], np.float32))

    def _prompted(
        self, encoded: Encoded, kind: str, prompts: Sequence[_Prompt]
    ) -> list[tuple[NDArray[np.bool_], np.float32]]:
        """(mask, predicted IoU) of prompts of one kind."""
        torch = import_torch()
        network = self._tracker
        scale = self._side / np.array([encoded.width, encoded.height], np.float32)
        points_NP2 = np.stack([points for points, _ in prompts]) * scale
        given = torch.from_numpy(points_NP2).to(network.device)[None]
        labels = [each for _, each in prompts if each is not None]
        if labels:
            labels_NP = torch.from_numpy(np.stack(labels)).to(network.device)[None]
            prompt = {"input_points": given, "input_labels": labels_NP}
        else:
            prompt = {"input_boxes": given.flatten(2)}
        answer = network.model(
            image_embeddings=self._levels(encoded), multimask_output=kind == "point", **prompt
        )
        quality, best = answer.iou_scores[0].float().max(-1)
        logits = answer.pred_masks[0, torch.arange(len(best)), best].float()
        masks_NHW = (_enlarged(logits, encoded) > 0).cpu().numpy()
        return list(zip(masks_NHW, quality.clamp(0, 1).cpu().numpy(), strict=True))

    def _levels(self, encoded: Encoded) -> list[torch.Tensor]:
        """The tracker's features of the image, coarsest last."""
        if encoded.levels is None:
            model = self._tracker.model
            tokens = encoded.tokens_1SD
            rows, columns = model.prompt_encoder.image_embedding_size
            grid = tokens.view(1, rows, columns, -1).permute(0, 3, 1, 2)
            levels = list(model.vision_encoder.neck(grid)[0][:-1])
            levels[0] = model.mask_decoder.conv_s0(levels[0])
            levels[1] = model.mask_decoder.conv_s1(levels[1])
            levels[-1] = levels[-1] + model.no_memory_embedding.view(1, -1, 1, 1)
            encoded.levels = levels
        return encoded.levels

    def close(self) -> None:
        """Free the weights."""
        self._texts.clear()
        self._tracker.close()
        self._detector.close()


def _enlarged(maps_Nhw: torch.Tensor, encoded: Encoded) -> torch.Tensor:
    """Bilinear, to the image's size."""
    size = (encoded.height, encoded.width)
    if not len(maps_Nhw):
        return maps_Nhw.new_zeros((0, *size))
    interpolate = import_torch().nn.functional.interpolate
    return interpolate(maps_Nhw[None], size, mode="bilinear", align_corners=False)[0]


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Sam3:
    """From a hub repository's folder; `prompts` (default 32 on a GPU, 4 on a CPU) are decoded at
    once.

    Raises:
        UsageError: `prompts` is not positive.
        ModelError: the folder is incomplete, damaged, or of another model.
    """
    detector = Network("Sam3Model", files["repository"], options, (BACKBONE,), (BACKBONE,))
    prompts = int(options.get("prompts") or (32 if detector.device.startswith("cuda") else 4))
    if prompts < 1:
        raise UsageError("option prompts must be positive")
    with detector.pinned():  # until they share weights, one could be moved out for the other
        tracker = Network(
            "Sam3TrackerModel", files["repository"], options, (), (BACKBONE,), detector
        )
        with tracker.pinned():
            return Sam3(detector, tracker, prompts)
