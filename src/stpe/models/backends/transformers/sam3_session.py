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
from stpe.models.backends.transformers.sam3_answers import (
    Followed,
    Shown,
    Waiting,
    answered,
    shown,
)
from stpe.models.backends.transformers.sam3_attempts import Undo
from stpe.models.backends.transformers.sam3_look import Look
from stpe.models.backends.transformers.sam3_memory import fit, held_bytes
from stpe.models.backends.transformers.sam3_named import NamedObjects
from stpe.models.backends.transformers.sam3_pointed import PointedObjects, Points
from stpe.models.roles import Direction, VideoFrame, VideoFrames, VideoPrompt
from stpe.models.torch_runtime.network import import_torch
from stpe.models.walking import Walk, check_prompt, walks

if TYPE_CHECKING:
    import torch

    from stpe.models.backends.transformers.sam3_video import Sam3Video

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Named:
    """The words that were looked for in the frame prompted last, and what was found."""

    index: int
    words: frozenset[str]
    objects: dict[int, Shown]


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
        self._named = NamedObjects(model.network, model.texts, model.at_once, count)
        self._pointed = PointedObjects(model.network, count)
        self._hidden: set[int] = set()
        self._last_id = 0
        self._first: int | None = None
        self._prompted: _Named | None = None
        self._walked: tuple[int, int] | None = None
        self._waiting: deque[Waiting] = deque()
        self._warned = False

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects in order of creation."""
        return tuple(sorted({*self._pointed.ids, *self._named.ids} - self._hidden))

    @property
    def held_bytes(self) -> int:
        """Bytes of memories, of the frame looked at last, and of answers that wait; may be asked
        from another thread, so what that changes meanwhile is listed first."""
        tensors = [*self._named.memories.tensors, *self._pointed.memories.tensors]
        waiting = sum(o.bits.nbytes for frame in list(self._waiting) for o in frame.objects)
        prompted = self._prompted
        if prompted is not None:
            waiting += sum(o.bits.nbytes for o in list(prompted.objects.values()))
        return held_bytes([*tensors, *self._model.held(self)]) + waiting

    def prompt(
        self, frame_index: int, prompt: VideoPrompt, object_id: int | None = None
    ) -> VideoFrame:
        """See `stpe.models.roles.VideoSession.prompt`."""
        check_prompt(self._frames, frame_index, prompt, object_id, self.object_ids)
        image = self._frames.image(frame_index)

        def name_and_point() -> Waiting:
            if self._walked not in (None, (frame_index, 1)):  # a prompt looks forward
                self._named.memories.begin()
                self._pointed.memories.begin()
            look = self._model.look(self, frame_index, image)
            said = self._pointed.read(look, prompt)
            if object_id is None and isinstance(said, Points) and not said.labels_P.any():
                said = None  # only what the object is not
            if said is None and not prompt.texts:
                raise UsageError("the prompt names nothing; give words, a box, points or a mask")
            objects: list[Shown] = []
            if prompt.texts:
                objects += self._name(look, frame_index, prompt.texts)
            if said is not None:
                followed = self._point(look, frame_index, object_id, said)
                objects += shown(look, [followed], ranked=False)
            self._named.memories.slim()
            self._pointed.memories.slim()
            self._fit(frame_index)
            return Waiting(frame_index, look.height, look.width, objects)

        waiting = self._turn(name_and_point)
        if self._first is None:
            self._first = frame_index
        return self._answer(waiting)

    def propagate(
        self,
        direction: Direction,
        start: int | None = None,
        max_frames: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[VideoFrame, None, None]:
        """See `stpe.models.roles.VideoSession.propagate`."""
        first = self._first if self.object_ids or self._named.words else None
        ways = walks(self._frames, first, direction, start, max_frames)
        return self._walk(ways, cancelled)

    def _walk(
        self, ways: Sequence[Walk], cancelled: Callable[[], bool]
    ) -> Generator[VideoFrame, None, None]:
        begin, step = ways[0].begin, ways[0].step
        before = self._walked
        if before is None or before[1] != step or begin - before[0] not in (0, step):
            self._named.begin(ways[0])
            self._pointed.memories.begin()
        elif ways[0].returns:
            self._named.memories.begin()
            self._pointed.memories.begin()
        try:
            for walk in ways:
                for index in walk.indices:
                    if cancelled():
                        return
                    found = self._step(index, walk)
                    self._waiting.append(found)
                    while self._waiting and (
                        index == walk.end or len(self._waiting) >= self._named.delay
                    ):
                        yield self._answer(self._waiting.popleft())
        finally:
            self._waiting.clear()
            self._model.forget(self)

    def _step(self, index: int, walk: Walk) -> Waiting:
        reverse = walk.step < 0
        image = self._frames.image(index)

        def step() -> Waiting:
            look = self._model.look(self, index, image)
            pointed = self._pointed.step(look, index, reverse)
            objects = shown(look, pointed, ranked=False)
            if self._named.words:
                known = self._known_from_prompt(index) if index == walk.begin else None
                objects += self._find(look, index, reverse, pointed) if known is None else known
            self._named.memories.prune(index, walk)
            self._pointed.memories.prune(index, walk)
            self._fit(index)
            return Waiting(index, look.height, look.width, objects)

        waiting = self._turn(step)
        self._walked = index, walk.step
        return waiting

    def _turn(self, work: Callable[[], Waiting]) -> Waiting:
        """`work()` in a turn on the device: done, or where it raises, undone."""
        model = self._model
        tried = 0, 0

        def attempt() -> Waiting:
            nonlocal tried
            undo = Undo(self, *self._named.parts, *self._pointed.parts)
            model.at_once.bind(model.network.model.tracker_model)
            try:
                return work()
            except BaseException:
                tried = len(self._named.words), len(self._named.ids) + len(self._pointed.ids)
                undo()
                raise

        waiting: Waiting = model.network.call(
            self._work(), attempt, lambda: model.at_once.halved(*tried)
        )
        return waiting

    def _work(self) -> str:
        """A frame's work by its size, for the memory planner."""
        objects = len(self._named.ids) + len(self._pointed.ids)
        return f"a frame of up to {1 << objects.bit_length()} objects"

    def _known_from_prompt(self, index: int) -> list[Shown] | None:
        """What a prompt has found in the frame, if it has seen all there is to be found."""
        said = self._prompted
        if said is None or said.index != index or said.words != set(self._named.words):
            return None
        ids = self._named.ids
        return [said.objects[i] for i in ids] if set(ids) <= set(said.objects) else None

    def _find(
        self, look: Look, index: int, reverse: bool, pointed: Sequence[Followed]
    ) -> list[Shown]:
        claimed = self._claimed(pointed)
        followed, _ = self._named.step(look, index, reverse, self._last_id + 1, claimed)
        return shown(look, self._counted(followed), ranked=True)

    def _name(self, look: Look, index: int, texts: Sequence[str]) -> list[Shown]:
        pointed: list[Followed] = []
        if any(self._pointed.label(i) in texts for i in self._pointed.ids):
            pointed = self._pointed.step(look, index, False)
        claimed = self._claimed(pointed)
        followed = self._named.name(look, index, texts, self._last_id + 1, claimed)
        found = shown(look, self._counted(followed), ranked=True)
        before = self._prompted
        words, objects = set(texts), {one.id: one for one in found}
        if before is not None and before.index == index:
            words |= before.words
            objects = {**before.objects, **objects}
        self._prompted = _Named(index, frozenset(words), objects)
        return found

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

    def _answer(self, waiting: Waiting) -> VideoFrame:
        return answered(waiting, self._frames.pts[waiting.index], self.object_ids)

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
        model = self._model
        self._named = NamedObjects(model.network, model.texts, model.at_once, count)
        self._pointed = PointedObjects(model.network, count)
        self._hidden.clear()
        self._first = self._prompted = self._walked = None
        self._waiting.clear()
        self._model.forget(self)

    def close(self) -> None:
        """Free memories and features."""
        self.reset()
