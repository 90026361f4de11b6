"""A crew: worker processes, one a device, that share the chunks of a video, or several videos.

Each member opens the source itself, runs the stages it is told on every n-th chunk or on all of
them, keeps its models loaded from share to share, and leaves artifacts, which are known by content,
in the dataset's folder. The leader runs what needs an order, unless a member was given the whole
source, and alone seals the dataset.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal, Protocol, get_args

from stpe.errors import StageError, StpeError, UsageError
from stpe.models.devices import visible
from stpe.models.loader import Selection
from stpe.models.processor import core_count
from stpe.pipeline.jobs import Spent
from stpe.pipeline.plan import Plan
from stpe.pipeline.progress import Progress
from stpe.video.limits import Limits
from stpe.video.source import Source

Executor = Literal["local", "ray"]


@dataclass(frozen=True)
class Share:
    """What one member is asked to do.

    Attributes:
        plan: the whole plan.
        media: the original, a local file.
        limits: of the source.
        artifacts: the store's folder.
        stages: names of those to run; None for all there are, those of the whole video too.
        part, parts: on chunks whose number leaves `part` when divided by `parts`.
    """

    plan: Plan
    media: Path
    limits: Limits
    artifacts: Path
    stages: tuple[str, ...] | None
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Made:
    """Keys of the artifacts that a member wrote, and what each stage cost it."""

    keys: frozenset[str]
    spent: Mapping[str, Spent]


class Crew(Protocol):
    """Whoever shares the work."""

    def start(self) -> int:
        """Have the members there; how many there are."""
        ...

    def give(self, member: int, share: Share) -> None:
        """Ask a member that has nothing to do. Raises StageError where it cannot be reached."""
        ...

    def take(self, progress: Callable[[int], Progress]) -> tuple[int, Made | StpeError]:
        """Wait for one of the members that were asked: which, and what it made or raised; one that
        died is told of as StageError. `progress` of a member hears what it does meanwhile."""
        ...

    def close(self) -> None:
        """End the members, whatever they do; the next `start` starts new ones."""
        ...


def share_chunks(
    crew: Crew,
    plan: Plan,
    source: Source,
    artifacts: Path,
    stages: tuple[str, ...],
    progress: Progress,
) -> list[Made]:
    """Run stages on every chunk of a source, each member its part.

    Raises:
        StpeError: what a member raised.
        StageError: a member died.
    """
    made: list[Made] = []
    parts = crew.start()
    try:
        for part in range(parts):
            crew.give(part, share_of(plan, source, artifacts, stages, part, parts))
        while len(made) < parts:
            _, answer = crew.take(lambda _: progress)
            if isinstance(answer, StpeError):
                raise answer
            made.append(answer)
    finally:
        if len(made) < parts:
            crew.close()
    return made


def share_of(
    plan: Plan,
    source: Source,
    artifacts: Path,
    stages: tuple[str, ...] | None = None,
    part: int = 0,
    parts: int = 1,
) -> Share:
    """A share of an open source; by default the whole."""
    media, root = source.media.resolve(), artifacts.resolve()
    return Share(plan, media, source.limits, root, stages, part, parts)


def crew_for(
    selection: Selection,
    executor: Executor = "local",
    devices: Sequence[str] | None = None,
    threads: int | None = None,
) -> Crew | None:
    """The crew that `Engine` was asked for; None where this process does everything.

    Raises:
        UsageError: no such executor or device.
        MissingExtraError: ray is not installed.
    """
    if executor not in get_args(Executor):
        raise UsageError(f"no executor is called {executor!r}; there are local, ray")
    found = _gpus(selection) if devices is None else tuple(devices)
    if executor == "ray":
        from stpe.pipeline.ray_crew import RayCrew

        return RayCrew(devices if devices is None else found, bool(_gpus(selection)), threads)
    if not found or (devices is None and len(found) < 2):
        return None
    return LocalCrew(found, threads)


def _gpus(selection: Selection) -> tuple[str, ...]:
    """Every GPU, where a model of the selection runs in torch."""
    if not any(m.extra for m in selection.models.values()) or find_spec("torch") is None:
        return ()
    import torch

    return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))


class LocalCrew:
    """Processes of this machine, started when first needed.

    Args:
        devices: "cpu" or "cuda:n" for each; a member sees no other GPU.
        threads: worker threads of each; by default the cores are divided among them.

    Raises:
        UsageError: no such device.
    """

    def __init__(self, devices: Sequence[str], threads: int | None = None) -> None:
        self._seen = [visible(device) for device in devices]
        self._threads = threads or max(1, core_count() // len(devices))
        self._members: list[tuple[subprocess.Popen[bytes], Connection] | None] = []
        self._asked: set[int] = set()

    def start(self) -> int:
        """See `Crew`."""
        self._members = self._members or [None] * len(self._seen)
        for number, member in enumerate(self._members):
            if member is None:
                self._members[number] = self._start(self._seen[number])
        return len(self._members)

    def give(self, member: int, share: Share) -> None:
        """See `Crew`."""
        there = self._members[member]
        if there is None or there[0].poll() is not None:
            there = self._members[member] = self._start(self._seen[member])
        try:
            there[1].send(share)
        except OSError as error:
            raise StageError(f"a worker process cannot be reached: {error}") from error
        self._asked.add(member)

    def take(self, progress: Callable[[int], Progress]) -> tuple[int, Made | StpeError]:
        """See `Crew`."""
        asked = {there[1]: n for n in self._asked if (there := self._members[n]) is not None}
        while True:
            for ready in wait(list(asked)):
                assert isinstance(ready, Connection)
                member = asked[ready]
                try:
                    told = ready.recv()
                except (EOFError, ConnectionError):
                    told = self._death(member)
                if not isinstance(told, (Made, StpeError)):
                    stage, video_s = told
                    progress(member).advance(stage, video_s, reused=False)
                    continue
                self._asked.discard(member)
                return member, told

    def _death(self, member: int) -> StageError:
        there, self._members[member] = self._members[member], None
        assert there is not None
        process, connection = there
        connection.close()
        code = process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        killed = " (out of memory?)" if code == -signal.SIGKILL else ""
        return StageError(f"a worker process died of {how}{killed}; the same call continues")

    def _start(self, seen: str) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": seen,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        level = str(logging.getLogger("stpe").getEffectiveLevel())
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "stpe.pipeline.crew_member", str(theirs.fileno()),
                 str(self._threads), level],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints must not land in our caller's results
            )  # fmt: skip
        return process, Connection(ours.detach())

    def close(self) -> None:
        """See `Crew`."""
        members, self._members = list(filter(None, self._members)), []
        self._asked.clear()
        for process, connection in members:
            process.terminate()
            connection.close()
        for process, _ in members:
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
