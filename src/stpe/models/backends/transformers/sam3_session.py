"""A SAM 3 session on one video: what words name and what was pointed at, frame by frame."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stpe.errors import UsageError
from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.backends.transformers.sam3_memory import Walk, fit, held_bytes
from stpe.models.backends.transformers.sam3_named import Followed, NamedObjects
from stpe.models.backends.transformers.sam3_pointed import PointedObjects, Points
from stpe.models.roles import Direction, VideoFrame, VideoFrames, VideoObject, VideoPrompt
from stpe.models.torch_runtime.network import import_torch

if TYPE_CHECKING:
    import torch

    from stpe.models.backends.transformers.sam3_video import Sam3Video

log = logging.getLogger(__name__)

_AT_ONCE = 8  # masks brought to the frame's size together


@dataclass(frozen=True)
class _Shown:
    """An object in a frame that waits to be answered; its mask in bits.

    Attributes:
        rank: among named objects of one label, the higher has the pixels both claim; None for
            objects that were pointed at.
    """

    id: int
    label: str | None
    bits: NDArray[np.uint8]
    score: float
    rank: float | None


@dataclass(frozen=True)
class _Waiting:
    index: int
    height: int
    width: int
    objects: list[_Shown]


@dataclass(frozen=True)
class _Named:
    """The words that were looked for in the frame prompted last, and what was found."""

    index: int
    words: frozenset[str]
    objects: dict[int, _Shown]


class Session:
    """Role `VideoSession`.

    A walk that starts elsewhere than the last one ended jumps there: what is remembered of the
    objects from other frames is all that leads to them. An object that words found and that is
    then corrected is from then on followed by what was said of it alone. One that words found and
    that is removed is still followed, unseen, since it would be found again.
    """

    def __init__(self, model: Sam3Video, frames: VideoFrames) -> None:
        count = len(frames.pts)
        self._model = model
        self._frames = frames
        self._named = NamedObjects(model.network, model.texts, model.prompts, count)
        self._pointed = PointedObjects(model.network, count)
        self._hidden: set[int] = set()
        self._last_id = 0
        self._first: int | None = None
        self._prompted: _Named | None = None
        self._walked: tuple[int, int] | None = None
        self._waiting: deque[_Waiting] = deque()
        self._warned = False

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects in order of creation."""
        return tuple(sorted({*self._pointed.ids, *self._named.ids} - self._hidden))

    @property
    def held_bytes(self) -> int:
        """Bytes of memories, of the frame looked at last, and of answers that wait."""
        tensors = [*self._named.memories.tensors, *self._pointed.memories.tensors]
        waiting = sum(o.bits.nbytes for frame in self._waiting for o in frame.objects)
        if self._prompted is not None:
            waiting += sum(o.bits.nbytes for o in self._prompted.objects.values())
        return held_bytes([*tensors, *self._model.held(self)]) + waiting

    def prompt(
        self, frame_index: int, prompt: VideoPrompt, object_id: int | None = None
    ) -> VideoFrame:
        """See `stpe.models.roles.VideoSession.prompt`."""
        self._check_frame(frame_index)
        if object_id is not None and object_id not in self.object_ids:
            raise UsageError(f"there is no object {object_id}; give one of {self.object_ids}")
        if object_id is not None and prompt.texts:
            raise UsageError("words make new objects; correct one with a box, points or a mask")
        with self._model.network.inference(self._work()):
            look = self._model.look(self, frame_index, self._frames.image(frame_index))
            said = self._pointed.read(look, prompt)
            if object_id is None and isinstance(said, Points) and not said.labels_P.any():
                said = None  # only what the object is not
            if said is None and not prompt.texts:
                raise UsageError("the prompt names nothing; give words, a box, points or a mask")
            shown: list[_Shown] = []
            if prompt.texts:
                shown += self._name(look, frame_index, prompt.texts)
            if said is not None:
                followed = self._point(look, frame_index, object_id, said)
                shown += self._shown(look, [followed], ranked=False)
            self._named.memories.slim()
            self._pointed.memories.slim()
            self._fit(frame_index)
        if self._first is None:
            self._first = frame_index
        return self._answer(_Waiting(frame_index, look.height, look.width, shown))

    def propagate(
        self,
        direction: Direction,
        start: int | None = None,
        max_frames: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[VideoFrame, None, None]:
        """See `stpe.models.roles.VideoSession.propagate`."""
        if self._first is None or not (self.object_ids or self._named.words):
            raise UsageError("nothing is followed yet; prompt an object first")
        begin = self._first if start is None else start
        self._check_frame(begin)
        most = len(self._frames.pts) if max_frames is None else max_frames
        ways = {"forward": (1,), "backward": (-1,), "both": (1, -1)}[direction]
        return self._walk(begin, ways, most, cancelled)

    def _walk(
        self, begin: int, ways: Sequence[int], most: int, cancelled: Callable[[], bool]
    ) -> Generator[VideoFrame, None, None]:
        goes_on = self._walked is not None and begin - self._walked[0] in (0, self._walked[1])
        if not (goes_on and self._walked is not None and self._walked[1] == ways[0]):
            self._named.begin(Walk(begin, ways[0]))
            self._pointed.memories.begin()
        try:
            for number, step in enumerate(ways):
                last = len(self._frames.pts) - 1 if step > 0 else 0
                end = begin + step * min(abs(last - begin), most - 1)
                walk = Walk(begin, step, returns=number + 1 < len(ways))
                # On the way back the first frame has been answered.
                for index in range(begin + step * bool(number), end + step, step):
                    if cancelled():
                        return
                    self._waiting.append(self._step(index, walk))
                    while self._waiting and (
                        index == end or len(self._waiting) >= self._named.delay
                    ):
                        yield self._answer(self._waiting.popleft())
        finally:
            self._waiting.clear()
            self._model.forget(self)

    def _step(self, index: int, walk: Walk) -> _Waiting:
        reverse = walk.step < 0
        with self._model.network.inference(self._work()):
            look = self._model.look(self, index, self._frames.image(index))
            pointed = self._pointed.step(look, index, reverse)
            shown = self._shown(look, pointed, ranked=False)
            if self._named.words:
                known = self._known_from_prompt(index) if index == walk.begin else None
                shown += self._find(look, index, reverse, pointed) if known is None else known
            self._named.memories.prune(index, walk)
            self._pointed.memories.prune(index, walk)
            self._fit(index)
        self._walked = index, walk.step
        return _Waiting(index, look.height, look.width, shown)

    def _work(self) -> str:
        """A frame's work by its size, for the memory planner."""
        objects = len(self._named.ids) + len(self._pointed.ids)
        return f"a frame of up to {1 << objects.bit_length()} objects"

    def _known_from_prompt(self, index: int) -> list[_Shown] | None:
        """What a prompt has found in the frame, if it has seen all there is to be found."""
        said = self._prompted
        if said is None or said.index != index or said.words != set(self._named.words):
            return None
        ids = self._named.ids
        return [said.objects[i] for i in ids] if set(ids) <= set(said.objects) else None

    def _find(
        self, look: Look, index: int, reverse: bool, pointed: Sequence[Followed]
    ) -> list[_Shown]:
        claimed = self._claimed(pointed)
        followed, _ = self._named.step(look, index, reverse, self._last_id + 1, claimed)
        return self._shown(look, self._counted(followed), ranked=True)

    def _name(self, look: Look, index: int, texts: Sequence[str]) -> list[_Shown]:
        pointed: list[Followed] = []
        if any(self._pointed.label(i) in texts for i in self._pointed.ids):
            pointed = self._pointed.step(look, index, False)
        claimed = self._claimed(pointed)
        followed = self._named.name(look, index, texts, self._last_id + 1, claimed)
        shown = self._shown(look, self._counted(followed), ranked=True)
        before = self._prompted
        words, objects = set(texts), {one.id: one for one in shown}
        if before is not None and before.index == index:
            words |= before.words
            objects = {**before.objects, **objects}
        self._prompted = _Named(index, frozenset(words), objects)
        return shown

    def _counted(self, followed: list[Followed]) -> list[Followed]:
        """The same; ids go on after theirs."""
        self._last_id = max([self._last_id, *(one.id for one in followed), *self._named.ids])
        return followed

    def _claimed(self, pointed: Sequence[Followed]) -> dict[str, torch.Tensor]:
        """Logits of objects that words found and that are followed by what was said of them."""
        stack = import_torch().stack
        labels = {one.label for one in pointed if one.label is not None}
        return {
            label: stack([one.logits_hw for one in pointed if one.label == label])
            for label in labels
        }

    def _point(
        self, look: Look, index: int, object_id: int | None, said: Points | NDArray[np.bool_]
    ) -> Followed:
        if object_id is None:
            self._last_id += 1
            object_id = self._last_id
        elif object_id in self._named.ids:
            self._pointed.adopt(object_id, *self._named.take(object_id))
        return self._pointed.point(look, index, object_id, said)

    def _fit(self, at: int) -> None:
        network, budget = self._model.network, self._model.budget
        memories = self._named.memories, self._pointed.memories
        if fit(memories, at, budget, network.device) and not self._warned:
            self._warned = True
            log.warning(
                "%s: %d objects need more than the %.3g MB of a session; they are followed with "
                "less memory of past frames",
                network.name, len(self.object_ids), budget / (1 << 20),
            )  # fmt: skip

    # answers -----------------------------------------------------------------------------

    def _shown(self, look: Look, followed: Sequence[Followed], *, ranked: bool) -> list[_Shown]:
        """Masks at the frame's size: where a logit, interpolated, is positive."""
        torch = import_torch()
        size = (look.height, look.width)
        bits: list[NDArray[np.uint8]] = []
        for start in range(0, len(followed), _AT_ONCE):
            part = followed[start : start + _AT_ONCE]
            logits = torch.stack([one.logits_hw.float() for one in part])[:, None]
            full = torch.nn.functional.interpolate(logits, size, mode="bilinear")[:, 0] > 0
            bits += [np.packbits(mask) for mask in full.cpu().numpy()]
        return [
            _Shown(one.id, one.label, mask, one.score, one.rank if ranked else None)
            for one, mask in zip(followed, bits, strict=True)
        ]

    def _answer(self, waiting: _Waiting) -> VideoFrame:
        """What is still there of a frame; of one label, no pixel belongs to two objects."""
        shape = waiting.height, waiting.width
        there = set(self.object_ids)
        objects = [one for one in waiting.objects if one.id in there]
        masks = {
            one.id: np.unpackbits(one.bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
            for one in objects
        }
        for label in {one.label for one in objects if one.rank is not None}:
            same = [one for one in objects if one.rank is not None and one.label == label]
            taken = np.zeros(shape, bool)
            for one in sorted(same, key=lambda o: -(o.rank or 0.0)):
                masks[one.id] &= ~taken
                taken |= masks[one.id]
        shown = [
            VideoObject(one.id, masks[one.id], min(1.0, max(0.0, one.score)), one.label)
            for one in sorted(objects, key=lambda o: o.id)
        ]
        return VideoFrame(waiting.index, self._frames.pts[waiting.index], tuple(shown))

    def _check_frame(self, index: int) -> None:
        if not 0 <= index < len(self._frames.pts):
            raise UsageError(f"there is no frame {index}; give 0 to {len(self._frames.pts) - 1}")

    def remove_object(self, object_id: int) -> None:
        """Forget one object."""
        if object_id not in self.object_ids:
            raise UsageError(f"there is no object {object_id}; give one of {self.object_ids}")
        if object_id in self._named.ids or self._pointed.label(object_id) is not None:
            self._hidden.add(object_id)
        else:
            self._pointed.remove(object_id)

    def reset(self) -> None:
        """Forget every object and word; ids go on."""
        count = len(self._frames.pts)
        self._named = NamedObjects(
            self._model.network, self._model.texts, self._model.prompts, count
        )
        self._pointed = PointedObjects(self._model.network, count)
        self._hidden.clear()
        self._first = self._prompted = self._walked = None
        self._waiting.clear()
        self._model.forget(self)

    def close(self) -> None:
        """Free memories and features."""
        self.reset()
