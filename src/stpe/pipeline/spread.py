"""Several sources at once: each whole on one member of a crew, sealed by the leader as they end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from stpe.dataset.writer import DatasetWriter
from stpe.errors import StpeError, UsageError
from stpe.pipeline.artifacts import ArtifactStore
from stpe.pipeline.crew import Crew, Made, share_of
from stpe.pipeline.estimate import shares
from stpe.pipeline.executor import execute
from stpe.pipeline.jobs import Models
from stpe.pipeline.plan import Plan
from stpe.pipeline.progress import Progress
from stpe.pipeline.report import VideoReport
from stpe.pipeline.run import opened, seal, sealed, unchanged
from stpe.video.limits import Limits
from stpe.video.source import Source

#: A source's number, when it began (by `time.perf_counter`), and how it ended.
Ended = tuple[int, float, VideoReport | Exception]


@dataclass
class _Running:
    """A source that a member works on; `heard` has the seconds of video by stage."""

    number: int
    uri: str
    plan: Plan
    source: Source
    begun: float
    heard: dict[str, float] = field(default_factory=dict)


def process_whole(
    plans: Callable[[int], Plan],
    uris: Sequence[str],
    writer: DatasetWriter,
    models: Models,
    progress: Progress,
    crew: Crew,
    limits: Limits | None = None,
    replace: bool = False,
) -> Iterator[Ended]:
    """Process sources, as many at once as the crew has members, in their order as far as they are
    done. What a member raised, or that it died, is of its source alone.

    Args:
        plans: gives the plan of a source by its number.
        replace: what is stored may be renewed or dropped.

    Where the caller stops asking, members are ended and nothing more is sealed.
    """
    waiting = deque(enumerate(uris))
    running: dict[int, _Running] = {}
    idle = list(reversed(range(crew.start())))
    view = _View(progress)
    store = ArtifactStore(writer.path / "artifacts")
    finished = False
    try:
        while waiting or running:
            if waiting and idle:
                number, uri = waiting.popleft()
                begun = time.perf_counter()
                ended = _begin(partial(plans, number), uri, writer, limits, replace)
                if isinstance(ended, tuple):
                    member = idle.pop()
                    one = running[member] = _Running(number, uri, *ended, begun)
                    crew.give(member, share_of(one.plan, one.source, store.root))
                    view.begins(one)
                    continue
            else:
                member, answer = crew.take(lambda m: view.of(running[m]))
                one = running.pop(member)
                idle.append(member)
                number, begun = one.number, one.begun
                with one.source:
                    ended = _sealed(one, writer, models, store, answer)
            yield number, begun, ended
            view.ended(list(running.values()))
        finished = True
    finally:
        for one in running.values():
            one.source.close()
        if not finished:
            crew.close()


def _begin(
    choose: Callable[[], Plan],
    uri: str,
    writer: DatasetWriter,
    limits: Limits | None,
    replace: bool,
) -> tuple[Plan, Source] | VideoReport | Exception:
    """The plan and the open source, or how it ended already."""
    begun = time.perf_counter()
    try:
        plan = choose()
        source = opened(plan, uri, limits)
    except Exception as error:
        return error
    try:
        if not sealed(plan, uri, source, writer, replace):
            return plan, source
    except UsageError as error:
        source.close()
        return error
    with source:
        return unchanged(uri, source, begun)


def _sealed(
    one: _Running,
    writer: DatasetWriter,
    models: Models,
    store: ArtifactStore,
    answer: Made | StpeError,
) -> VideoReport | Exception:
    if isinstance(answer, StpeError):
        return answer
    try:
        done = execute(one.plan, one.source, store, models, made=answer)
        return seal(one.plan, one.uri, one.source, writer, done, store, Progress(), one.begun)
    except Exception as error:
        return error


class _View:
    """Shows one source at a time to a watcher, the one begun first of those that run."""

    def __init__(self, watcher: Progress) -> None:
        self._watcher = watcher
        self._shown: _Running | None = None

    def begins(self, one: _Running) -> None:
        """A member begins with a source."""
        if self._shown is None:
            self._show(one)

    def of(self, one: _Running) -> Progress:
        """What hears how far a source is."""
        return _Heard(one, lambda: self._watcher if self._shown is one else Progress())

    def ended(self, left: Sequence[_Running]) -> None:
        """The watcher was told of the end of a source: it is shown what still runs."""
        self._shown = None
        if left:
            self._show(min(left, key=lambda other: other.number))

    def _show(self, one: _Running) -> None:
        self._shown = one
        info = one.source.info
        self._watcher.source(info, shares(one.plan, info))
        for stage, video_s in one.heard.items():
            self._watcher.advance(stage, video_s, reused=True)


class _Heard(Progress):
    def __init__(self, one: _Running, watcher: Callable[[], Progress]) -> None:
        self._one = one
        self._watcher = watcher

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        """Counted, and passed on while the source is shown."""
        self._one.heard[stage] = self._one.heard.get(stage, 0.0) + video_s
        self._watcher().advance(stage, video_s, reused)
