"""Objects of a video that were pointed at: SAM 3's tracker follows what a box, points or a mask
said, as Sam3TrackerVideoModel does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.backends.transformers.sam3_answers import Followed
from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.backends.transformers.sam3_memory import Memories
from stpe.models.roles import F32, VideoPrompt
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.models.torch_runtime.transformers_module import from_transformers

if TYPE_CHECKING:
    import torch

_CORNERS = (2, 3)  # labels of a box's two corners among points


@dataclass(frozen=True)
class Points:
    """Points in the model's pixels, labels 1 on the object, 0 off it, 2 and 3 a box's corners."""

    points_P2: F32
    labels_P: NDArray[np.int32]


class PointedObjects:
    """The objects of one video that were pointed at. All calls in inference mode.

    Args:
        network: of a Sam3VideoModel.
        frames: how many the video has.
    """

    def __init__(self, network: Network, frames: int) -> None:
        self._network = network
        self._side = int(network.config.tracker_config.image_size)
        self._session: Any = from_transformers("Sam3TrackerVideoInferenceSession")(
            inference_device=network.device,
            inference_state_device=network.device,
            dtype=network.dtype,
        )
        # The frames themselves stay with their owner; transformers only counts them.
        self._session.processed_frames = range(frames)
        self.memories = Memories(self._session, network.config.tracker_config)
        self._found: dict[int, tuple[str | None, float]] = {}
        self._said: dict[tuple[int, int], Points] = {}

    @property
    def _tracker(self) -> Any:
        """The tracker, which the memory planner may have read anew."""
        return self._network.model.tracker_model

    @property
    def parts(self) -> tuple[Any, ...]:
        """Everything that a step changes, for `Undo`."""
        return self, self._session, self._session.cache, self.memories

    @property
    def ids(self) -> list[int]:
        """Objects that are there."""
        return list(self._session.obj_ids)

    def label(self, object_id: int) -> str | None:
        """The word that an object was found by before it was pointed at."""
        return self._found[object_id][0]

    def adopt(self, object_id: int, outputs: dict[str, Any], label: str, score: float) -> None:
        """Take over an object that was found by a word."""
        number = self._session.obj_id_to_idx(object_id)
        self._session.output_dict_per_obj[number] = outputs
        self._found[object_id] = (label, score)
        self.memories.origins[object_id] = set(outputs["cond_frame_outputs"])

    def point(
        self, look: Look, index: int, object_id: int, said: Points | NDArray[np.bool_]
    ) -> Followed:
        """Say, or say more, where an object is in a frame: by points or by its mask.

        Points are added to those said of the object in the same frame. Where the object is known
        from other frames, they correct what is remembered of it.
        """
        torch = import_torch()
        session = self._session
        number = session.obj_id_to_idx(object_id)
        self._found.setdefault(object_id, (None, 1.0))
        session.cache.cache_vision_features(index, look.tracked)
        if isinstance(said, Points):
            said = self._together(object_id, index, said)
            inputs = {
                "point_coords": torch.from_numpy(said.points_P2)[None, None],
                "point_labels": torch.from_numpy(said.labels_P)[None, None],
            }
            session.add_point_inputs(number, index, inputs)
            session.remove_mask_inputs(number, index)
        else:
            self._said.pop((object_id, index), None)
            session.add_mask_inputs(number, index, self._mask(said))
            session.remove_point_inputs(number, index)
        outputs = session.output_dict_per_obj[number]
        conditioning = outputs["cond_frame_outputs"]
        corrected = any(frame != index for frame in conditioning)
        if corrected and isinstance(said, Points):
            # A frame that counts as followed is looked at with what is remembered.
            conditioning.pop(index, None)
            session.frames_tracked_per_obj[number][index] = {"reverse": False}
        session.obj_with_new_inputs = [object_id]
        answer = self._tracker(inference_session=session, frame_idx=index)
        session.frames_tracked_per_obj[number].pop(index, None)
        session.remove_point_inputs(number, index)
        if index in outputs["non_cond_frame_outputs"]:
            conditioning[index] = outputs["non_cond_frame_outputs"].pop(index)
        self.memories.origins.setdefault(object_id, set()).add(index)
        return self._followed(answer, number)

    def step(self, look: Look, index: int, reverse: bool) -> list[Followed]:
        """Follow every object in one frame."""
        session = self._session
        if not session.obj_ids:
            return []
        session.cache.cache_vision_features(index, look.tracked)
        session.obj_with_new_inputs = []
        answer = self._tracker(inference_session=session, frame_idx=index, reverse=reverse)
        return [self._followed(answer, number) for number in range(len(session.obj_ids))]

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        self.memories.remove(object_id)
        del self._found[object_id]
        self._said = {key: said for key, said in self._said.items() if key[0] != object_id}

    def read(self, look: Look, prompt: VideoPrompt) -> Points | NDArray[np.bool_] | None:
        """What a prompt says of one object, None where it says nothing.

        A box and points go to the tracker as they are; several boxes, a box of what the object is
        not, or a mask with more to it are first made one mask.

        Raises:
            UsageError: the mask is not of the frame's size.
        """
        scale = (self._side / np.array([look.width, look.height])).astype(np.float32)
        boxes = (prompt.boxes_N4.reshape(-1, 2, 2) * scale).astype(np.float32)
        points = Points(
            (prompt.points_P2 * scale).astype(np.float32), prompt.point_labels_P.astype(np.int32)
        )
        if prompt.mask_HW is not None and prompt.mask_HW.shape != (look.height, look.width):
            raise UsageError(
                f"the mask is {prompt.mask_HW.shape[1]}x{prompt.mask_HW.shape[0]} and the "
                f"frame {look.width}x{look.height}"
            )
        positive = prompt.box_labels_N.astype(bool)
        if prompt.mask_HW is None and len(boxes) == positive.sum() <= 1:
            if not len(boxes) and not len(points.labels_P):
                return None
            corners = np.array(_CORNERS * len(boxes), np.int32)
            return Points(
                np.concatenate([boxes.reshape(-1, 2), points.points_P2]),
                np.concatenate([corners, points.labels_P]),
            )
        parts = [] if prompt.mask_HW is None else [prompt.mask_HW]
        parts += [self._segment(look, _box(box)) for box in boxes[positive]]
        if points.labels_P.any():
            parts.append(self._segment(look, points))
        if not parts:
            return None
        taken = [self._segment(look, _box(box)) for box in boxes[~positive]]
        mask = np.logical_or.reduce(parts)
        return np.asarray(mask & ~np.logical_or.reduce(taken) if taken else mask)

    def _segment(self, look: Look, said: Points) -> NDArray[np.bool_]:
        """The mask for points in a frame alone, at its size."""
        torch = import_torch()
        features, sizes = look.tracked["vision_feats"], self._tracker.backbone_feature_sizes
        maps = [
            flat.permute(1, 2, 0).unflatten(2, tuple(size))
            for flat, size in zip(features, sizes, strict=True)
        ]
        maps[-1] = maps[-1] + self._tracker.no_memory_embedding.view(1, -1, 1, 1)
        answer = self._tracker._single_frame_forward(
            input_points=torch.from_numpy(said.points_P2)[None, None].to(maps[-1].device),
            input_labels=torch.from_numpy(said.labels_P)[None, None].to(maps[-1].device),
            image_embeddings=maps,
            multimask_output=len(said.labels_P) == 1,
        )
        full = torch.nn.functional.interpolate(
            answer.pred_masks.float(), (look.height, look.width), mode="bilinear"
        )
        return np.asarray((full[0, 0] > 0).cpu().numpy())

    def _mask(self, mask_HW: NDArray[np.bool_]) -> torch.Tensor:
        torch = import_torch()
        mask = torch.from_numpy(mask_HW).to(self._network.device).float()[None, None]
        resized = torch.nn.functional.interpolate(
            mask, (self._side, self._side), mode="bilinear", antialias=True
        )
        return (resized >= 0.5).float()

    def _together(self, object_id: int, index: int, said: Points) -> Points:
        """With what was said before; a new box replaces an old one and what went with it."""
        before = self._said.get((object_id, index))
        if before is not None and not np.isin(_CORNERS, said.labels_P).any():
            said = Points(
                np.concatenate([before.points_P2, said.points_P2]),
                np.concatenate([before.labels_P, said.labels_P]),
            )
        self._said[object_id, index] = said
        return said

    def _followed(self, answer: Any, number: int) -> Followed:
        object_id = self._session.obj_idx_to_id(number)
        label, certainty = self._found[object_id]
        presence = float(answer.object_score_logits[number].float().sigmoid())
        score = certainty * presence
        return Followed(object_id, label, answer.pred_masks[number, 0], score, presence)


def _box(corners_22: F32) -> Points:
    return Points(corners_22, np.array(_CORNERS, np.int32))
