"""A crew: worker processes, one a device, that share the chunks of a video.

Each member opens the source itself, runs the stages it is told on every n-th chunk, keeps its
models loaded from share to share, and leaves artifacts, which are known by content, in the
dataset's folder. The leader runs what needs an order, and alone seals the dataset.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal, Protocol, get_args

from stpe.errors import StageError, UsageError
from stpe.models.backends.openvino.session import core_count
from stpe.models.loader import Selection
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
        stages: names of those to run.
        part, parts: on chunks whose number leaves `part` when divided by `parts`.
    """

    plan: Plan
    media: Path
    limits: Limits
    artifacts: Path
    stages: tuple[str, ...]
    part: int
    parts: int


@dataclass(frozen=True)
class Made:
    """Keys of the artifacts that a member wrote, and what each stage cost it."""

    keys: frozenset[str]
    spent: Mapping[str, Spent]


class Crew(Protocol):
    """Whoever shares chunks."""

    def run(
        self,
        plan: Plan,
        source: Source,
        artifacts: Path,
        stages: tuple[str, ...],
        progress: Progress,
    ) -> list[Made]:
        """Run stages on every chunk of a source.

        Raises:
            StpeError: what a member raised.
            StageError: a member died.
        """
        ...

    def close(self) -> None:
        """End the members, whatever they do; the next `run` starts new ones."""
        ...


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


def shares(
    plan: Plan, source: Source, artifacts: Path, stages: tuple[str, ...], parts: int
) -> list[Share]:
    """One share a member."""
    media, root = source.media.resolve(), artifacts.resolve()
    return [Share(plan, media, source.limits, root, stages, i, parts) for i in range(parts)]


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
        self._members: list[tuple[subprocess.Popen[bytes], Connection]] = []

    def run(
        self,
        plan: Plan,
        source: Source,
        artifacts: Path,
        stages: tuple[str, ...],
        progress: Progress,
    ) -> list[Made]:
        """See `Crew`."""
        if not self._members:
            self._members = [self._start(seen) for seen in self._seen]
        finished = False
        try:
            asked = shares(plan, source, artifacts, stages, len(self._members))
            for (_, connection), share in zip(self._members, asked, strict=True):
                connection.send(share)
            made = self._collect(progress)
            finished = True
            return made
        except OSError as error:
            raise StageError(f"a worker process cannot be reached: {error}") from error
        finally:
            if not finished:
                self.close()

    def _collect(self, progress: Progress) -> list[Made]:
        made: list[Made] = []
        busy = {connection: process for process, connection in self._members}
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                try:
                    told = ready.recv()
                except (EOFError, ConnectionError) as error:
                    code = busy[ready].wait()
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    killed = " (out of memory?)" if code == -signal.SIGKILL else ""
                    raise StageError(
                        f"a worker process died of {how}{killed}; the same call continues"
                    ) from error
                if isinstance(told, BaseException):
                    raise told
                if isinstance(told, Made):
                    made.append(told)
                    del busy[ready]
                else:
                    stage, video_s = told
                    progress.advance(stage, video_s, reused=False)
        return made

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
        members, self._members = self._members, []
        for process, connection in members:
            process.terminate()
            connection.close()
        for process, _ in members:
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def visible(device: str) -> str:
    """What CUDA_VISIBLE_DEVICES must be for a process to see that device only. Numbers count the
    devices that this process sees. Raises UsageError."""
    if device == "cpu":
        return ""
    kind, _, number = device.partition(":")
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    among = None if given is None else [name.strip() for name in given.split(",") if name.strip()]
    if kind != "cuda" or not number.isdecimal():
        raise UsageError(f"no device is called {device!r}; write cpu or cuda:0, cuda:1, ...")
    if among is None:
        return number
    if int(number) >= len(among):
        raise UsageError(f"{device}: CUDA_VISIBLE_DEVICES={given} has {len(among)} devices")
    return among[int(number)]
