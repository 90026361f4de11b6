"""Objects of a video that words name: SAM 3's detector finds them in every frame, its tracker
follows them, and the two are brought together by Sam3VideoModel's own rules.

Those rules keep a new object on trial ("hot start"): one that the detector does not confirm, or
that turns out to be another one, is dropped, and was never there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stpe.models.backends.transformers.sam3_answers import Followed
from stpe.models.backends.transformers.sam3_attempts import AtOnce
from stpe.models.backends.transformers.sam3_detection import detect
from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.backends.transformers.sam3_memory import Memories
from stpe.models.backends.transformers.sam3_records import enrol, forget, restart, take_over
from stpe.models.backends.transformers.sam3_text import ConceptTexts
from stpe.models.backends.transformers.sam3_tidy import tidied
from stpe.models.torch_runtime.network import Network, import_torch
from stpe.models.torch_runtime.transformers_module import from_transformers
from stpe.models.walking import Walk

if TYPE_CHECKING:
    import torch


class NamedObjects:
    """The objects of one video that words name. All calls in inference mode, ids from outside.

    Args:
        network: of a Sam3VideoModel.
        texts: its text features.
        at_once: bounds the words decoded together.
        frames: how many the video has.
    """

    def __init__(self, network: Network, texts: ConceptTexts, at_once: AtOnce, frames: int) -> None:
        self._network = network
        self._texts = texts
        self._at_once = at_once
        self._session: Any = from_transformers("Sam3VideoInferenceSession")(
            inference_device=network.device,
            inference_state_device=network.device,
            dtype=network.dtype,
        )
        # The frames themselves stay with their owner; transformers only counts them.
        self._session.processed_frames = range(frames)
        self.memories = Memories(self._session, network.config.tracker_config)

    @property
    def _model(self) -> Any:
        """The Sam3VideoModel, which the memory planner may have read anew."""
        return self._network.model

    @property
    def parts(self) -> tuple[Any, ...]:
        """Everything that a step changes, for `Undo`."""
        return self._session, self._session.cache, self.memories

    @property
    def ids(self) -> list[int]:
        """Objects that are there."""
        return list(self._session.obj_ids)

    @property
    def words(self) -> list[str]:
        """What is looked for."""
        return list(self._session.prompts.values())

    @property
    def delay(self) -> int:
        """Frames that an answer waits until its objects have stood their trial."""
        return int(self._network.config.hotstart_delay) if self._session.prompts else 0

    def name(
        self,
        look: Look,
        index: int,
        texts: Sequence[str],
        first_id: int,
        claimed: Mapping[str, torch.Tensor],
    ) -> list[Followed]:
        """Look for words in a frame, and from now on in every frame of a walk.

        Args:
            first_id: of the objects made, counting on from there.
            claimed: per label, logits of objects that are followed otherwise.

        Returns:
            What the words name in the frame.
        """
        known = set(self.words) & set(texts)
        numbers = [self._session.add_prompt(text) for text in texts]
        if known and self._session.obj_ids:
            followed, _ = self.step(look, index, False, first_id, claimed)
            return [one for one in followed if one.label in texts]
        found, number_of = self._detect(look, numbers, claimed)
        return self._make(look, index, found, number_of, first_id)

    def begin(self, walk: Walk) -> None:
        """Before a walk that does not go on from the last one. Objects known from elsewhere stand
        no trial again."""
        self.memories.begin()
        trial = int(self._network.config.hotstart_delay) + 1
        restart(self._session, walk.begin, walk.begin - walk.step * trial)

    def step(
        self,
        look: Look,
        index: int,
        reverse: bool,
        first_id: int,
        claimed: Mapping[str, torch.Tensor],
    ) -> tuple[list[Followed], set[int]]:
        """Find and follow everything in one frame: (objects, ids of those dropped there)."""
        model, session = self._model, self._session
        found, number_of = self._detect(look, list(session.prompts), claimed)
        session.cache.cache_vision_features(index, look.tracked)
        session.max_obj_id = first_id - 1
        before = self.ids
        logits, presence = self._propagated(index, reverse)
        plan, after = model.run_tracker_update_planning_phase(
            inference_session=session,
            frame_idx=index,
            reverse=reverse,
            det_out=found,
            tracker_low_res_masks_global=logits,
            tracker_obj_scores_global=presence,
            det_idx_to_prompt_id=number_of,
        )
        model.run_tracker_update_execution_phase(
            inference_session=session,
            frame_idx=index,
            det_out=found,
            tracker_update_plan=plan,
            reverse=reverse,
        )
        new = plan["new_det_obj_ids"]
        masks = dict(zip(before, logits, strict=True))
        if new:
            masks.update(self._shown(new, found["mask"][plan["new_det_out_inds"]]))
        confirmed = plan["trk_id_to_max_iou_high_conf_det"]
        for object_id in plan["reconditioned_obj_ids"]:
            masks[object_id] = found["mask"][confirmed[object_id]]
        ranks = dict(zip(before, presence.float().sigmoid().tolist(), strict=True))
        scores = after["obj_id_to_score"]
        ranks.update({i: scores[i] for i in new})
        take_over(session, after, model)
        self.memories.origins.update({object_id: {index} for object_id in new})
        dropped = set(plan["obj_ids_newly_removed"])
        hidden = dropped | after["extra_metadata"]["suppressed_obj_ids"][index]
        followed = [
            self._followed(i, masks[i], scores[i] if i in new else scores[i] * ranks[i], ranks[i])
            for i in (*before, *new)
            if i not in hidden
        ]
        self._forget(dropped)
        return followed, dropped

    def take(self, object_id: int) -> tuple[dict[str, Any], str, float]:
        """Remove an object: what is remembered of it, its label, its detection's score."""
        label = self.label(object_id)
        score = self._session.obj_id_to_score.get(object_id, 1.0)
        outputs = self.memories.remove(object_id)
        self._forget({object_id})
        return outputs, label, score

    def label(self, object_id: int) -> str:
        """The word that an object was found by."""
        return str(self._session.prompts[self._session.obj_id_to_prompt_id[object_id]])

    def _detect(
        self, look: Look, numbers: Sequence[int], claimed: Mapping[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], dict[int, int]]:
        words = {number: str(self._session.prompts[number]) for number in numbers}
        return detect(self._model, self._texts, look, words, self._at_once.words, claimed)

    def _propagated(self, index: int, reverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """The tracker's masks (logits) and presence (logits) of the objects there are."""
        torch = import_torch()
        model, side = self._model, self._model.low_res_mask_size
        if not self._session.obj_ids:
            nothing = torch.zeros(0, side, side, device=model.device)
            return nothing, torch.zeros(0, device=model.device)
        out = model.tracker_model(
            inference_session=self._session,
            frame_idx=index,
            reverse=reverse,
            run_mem_encoder=False,
        )
        logits = tidied(out.pred_masks.squeeze(1), model.fill_hole_area)
        return logits.clone(), out.object_score_logits.squeeze(1)  # the plan writes to the masks

    def _make(
        self,
        look: Look,
        index: int,
        found: dict[str, torch.Tensor],
        number_of: Mapping[int, int],
        first_id: int,
    ) -> list[Followed]:
        """New objects of everything found in a frame, the best if there is no room for all."""
        session = self._session
        room = max(0, self._model.max_num_objects - len(session.obj_ids))
        if len(number_of) > room:
            best = found["scores"].topk(room).indices
            found = {name: values[best] for name, values in found.items()}
            number_of = {i: number_of[int(old)] for i, old in enumerate(best)}
        new = list(range(first_id, first_id + len(number_of)))
        if not new:
            return []
        session.cache.cache_vision_features(index, look.tracked)
        for object_id, number, score in zip(
            new, number_of.values(), found["scores"].tolist(), strict=True
        ):
            enrol(session, object_id, number, score, index, self._model.init_trk_keep_alive)
            self.memories.origins[object_id] = {index}
        self._model._tracker_add_new_objects(session, index, new, found["mask"])
        masks = self._shown(new, found["mask"])
        scores = session.obj_id_to_score
        return [self._followed(i, masks[i], scores[i], scores[i]) for i in new]

    def _shown(self, ids: Sequence[int], logits: torch.Tensor) -> dict[int, torch.Tensor]:
        tidy = tidied(logits, self._model.fill_hole_area)
        return dict(zip(ids, tidy, strict=True))

    def _followed(self, object_id: int, logits: Any, score: float, rank: float) -> Followed:
        return Followed(object_id, self.label(object_id), logits, score, rank)

    def _forget(self, gone: set[int]) -> None:
        forget(self._session, gone)
        for object_id in gone:
            self.memories.origins.pop(object_id, None)
