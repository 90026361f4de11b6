"""What a SAM 3 tracker remembers of its objects, kept to what it can still attend to.

transformers keeps every output of every frame: about 6 MB an object a frame at the real size,
most of it full-size logits and one position encoding again and again. The tracker attends to the
nearest conditioning frames (those that were prompted, detected or confirmed by the detector), the
features of a few frames before, and the pointers of a few more. All else goes after each frame,
which changes no mask; then, over the byte budget, the oldest of the rest goes to the host's memory
from a GPU, or is forgotten on a CPU.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from stpe.models.walking import Walk

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_FEATURES = ("maskmem_features", "maskmem_pos_enc")
_HEAVY = (*_FEATURES, "pred_masks")
_PER_OBJECT = (
    "point_inputs_per_obj",
    "mask_inputs_per_obj",
    "output_dict_per_obj",
    "frames_tracked_per_obj",
)


class Memories:
    """The memories in one session of transformers.

    Args:
        session: a Sam3VideoInferenceSession or Sam3TrackerVideoInferenceSession.
        config: of the tracker.
    """

    def __init__(self, session: Any, config: Any) -> None:
        self._session = session
        self._frames: int = config.num_maskmem - 1
        self._pointers: int = config.max_object_pointers_in_encoder
        self._conditioning: int = config.max_cond_frame_num
        self._place: torch.Tensor | None = None
        #: Per object, the frames whose memory is never given up.
        self.origins: dict[int, set[int]] = {}

    def prune(self, at: int, walk: Walk) -> None:
        """Give up what no later frame of the walk attends to, frame `at` being done; one frame more
        stays, as that frame may be looked at once again."""
        self.slim()
        for number, object_id in enumerate(self._session.obj_ids):
            outputs = self._session.output_dict_per_obj[number]
            origins = self.origins.get(object_id, set())
            self._prune_others(outputs["non_cond_frame_outputs"], at, walk)
            self._prune_conditioning(outputs["cond_frame_outputs"], origins, at, walk)

    def slim(self) -> None:
        """Give up what nothing attends to, wherever a walk goes on."""
        session = self._session
        session.cache.clear_all()
        for number in range(len(session.obj_ids)):
            session.frames_tracked_per_obj[number].clear()
            session.mask_inputs_per_obj[number].clear()
            for held in session.output_dict_per_obj[number].values():
                for output in held.values():
                    self._slim(output)

    def _slim(self, output: dict[str, Any]) -> None:
        output.pop("high_res_masks", None)
        features = output.get("maskmem_features")
        if features is None:
            return
        if features.untyped_storage().nbytes() > features.nbytes:  # a slice of all objects'
            output["maskmem_features"] = features.clone()
        place = output["maskmem_pos_enc"]  # the same for every object and frame
        if self._place is None or self._place.shape != place.shape:
            self._place = place.clone()
        output["maskmem_pos_enc"] = self._place

    def _prune_others(self, others: dict[int, dict[str, Any]], at: int, walk: Walk) -> None:
        for frame in list(others):
            distance = abs(frame - at)
            if walk.returns:
                distance = min(distance, abs(frame - walk.begin))
            if distance > max(self._pointers, self._frames):
                del others[frame]
                continue
            others[frame].pop("pred_masks", None)
            if distance > self._frames:
                _strip(others[frame])

    def _prune_conditioning(
        self, held: dict[int, dict[str, Any]], origins: set[int], at: int, walk: Walk
    ) -> None:
        behind = sorted((f for f in held if (at - f) * walk.step >= 0), key=lambda f: abs(f - at))
        near = {f for f in held if abs(f - at) <= self._frames}
        near |= set(behind[: self._conditioning + 1])  # a correction looks at `at` without its own
        if walk.returns:  # the way back goes through all on the other side
            ahead = {f for f in held if (f - walk.begin) * walk.step > 0}
            near |= held.keys() - ahead
            near |= set(sorted(ahead, key=lambda f: abs(f - walk.begin))[: self._conditioning])
        for rank, frame in enumerate(behind):
            if frame in near or frame in origins:
                continue
            # Only its pointer is still looked at; without a bound on those memory would grow.
            if rank < self._pointers:
                _strip(held[frame])
            else:
                del held[frame]

    def begin(self) -> None:
        """Before a look elsewhere than where the last walk goes on, or a walk that returns: only
        whole memories stay."""
        for outputs in self._session.output_dict_per_obj.values():
            for held in outputs.values():
                for frame in [f for f, output in held.items() if "maskmem_features" not in output]:
                    del held[frame]

    def oldest(self, at: int) -> Iterator[tuple[int, dict[int, dict[str, Any]], int, bool]]:
        """(distance, memories, frame, whether it may be forgotten), of all objects."""
        for number, object_id in enumerate(self._session.obj_ids):
            kept = self.origins.get(object_id, set())
            for held in self._session.output_dict_per_obj[number].values():
                for frame in held:
                    yield abs(frame - at), held, frame, frame not in kept and frame != at

    def remove(self, object_id: int) -> dict[str, Any]:
        """Take an object out; what is remembered of it."""
        session = self._session
        number = session.obj_id_to_idx(object_id)
        outputs: dict[str, Any] = session.output_dict_per_obj[number]
        left = [other for other in session.obj_ids if other != object_id]
        old = [session.obj_id_to_idx(other) for other in left]
        for name in _PER_OBJECT:
            held = getattr(session, name)
            setattr(session, name, {new: held[before] for new, before in enumerate(old)})
        session._obj_id_to_idx = OrderedDict((other, new) for new, other in enumerate(left))
        session._obj_idx_to_id = OrderedDict(enumerate(left))
        session.obj_ids = left
        self.origins.pop(object_id, None)
        return outputs

    @property
    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor held, some of them more than once."""
        yield from _tensors(
            [
                self._session.output_dict_per_obj,
                self._session.mask_inputs_per_obj,
                self._session.point_inputs_per_obj,
                self._session.cache._vision_features,
            ]
        )


def fit(all_memories: Iterable[Memories], at: int, budget: int, device: str) -> bool:
    """Bring memories under `budget` bytes on the device, the frames farthest from `at` first.

    Returns:
        Whether any was forgotten: on a CPU, where there is nowhere to move it to.
    """
    all_memories = list(all_memories)
    total = held_bytes((t for m in all_memories for t in m.tensors), device)
    if total <= budget:
        return False
    entries = [entry for memories in all_memories for entry in memories.oldest(at)]
    entries.sort(key=lambda entry: -entry[0])
    forgotten = False
    for _, held, frame, forgettable in entries:
        if total <= budget:
            break
        output = held[frame]
        heavy = [output[name] for name in _HEAVY if name in output and name != "maskmem_pos_enc"]
        freed = held_bytes(heavy, device)
        if device.startswith("cuda"):
            output.update({n: output[n].to("cpu") for n in _HEAVY[:1] + _HEAVY[2:] if n in output})
        elif forgettable:
            del held[frame]
            forgotten = True
        else:
            continue
        total -= freed
    return forgotten


def held_bytes(tensors: Iterable[torch.Tensor], device: str | None = None) -> int:
    """Bytes of the memory behind tensors, each counted once; of one device where it is given."""
    found = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if device is None or tensor.device.type == device.partition(":")[0]
    }
    return sum(found.values())


def _strip(output: dict[str, Any]) -> None:
    for name in _HEAVY:
        output.pop(name, None)


def _tensors(node: Any) -> Iterator[torch.Tensor]:
    if isinstance(node, dict):
        node = node.values()
    if isinstance(node, Iterable) and not hasattr(node, "untyped_storage"):
        for part in list(node):  # another thread may add to it
            yield from _tensors(part)
    elif hasattr(node, "untyped_storage"):
        yield node
