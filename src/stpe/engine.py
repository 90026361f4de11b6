"""`Engine`: everything the command line does, as Python calls."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stpe.allocator import released, resident_bytes, steady
from stpe.dataset.writer import DatasetWriter
from stpe.errors import (
    DatasetError,
    InterruptedRunError,
    ModelError,
    SourceError,
    StpeError,
    UsageError,
)
from stpe.models import loader
from stpe.models.concepts import spelled_out
from stpe.models.loaded import Loaded
from stpe.models.memory.planner import DeviceMemoryStats, memory_stats
from stpe.models.temporal import ModuleFile
from stpe.pipeline.crew import Crew, Executor, crew_for
from stpe.pipeline.pairing import Given, PerSource, paired
from stpe.pipeline.plan import Plan, make_plan
from stpe.pipeline.progress import Progress
from stpe.pipeline.report import VideoReport
from stpe.pipeline.run import process_source
from stpe.pipeline.sampling import Sampling
from stpe.pipeline.single import frame_signals
from stpe.pipeline.spread import Ended, process_whole
from stpe.stages.stage import Request
from stpe.state.camera_file import read_camera
from stpe.state.reading import StateFile
from stpe.video.expansion import expand
from stpe.video.frame import ImageHW3
from stpe.video.limits import Limits
from stpe.video.temporary import sweep

log = logging.getLogger(__name__)

#: Exact (width, height), a limit on the longer side, or None for the stored size.
Resolution = tuple[int, int] | int | None
Fps = float | Literal["native"]


@dataclass(frozen=True)
class Result:
    """What a call of `Engine.process` did.

    Attributes:
        dataset: its folder.
        profile: the profile chosen, and `profile_reason` why.
        videos: how each source ended, in the order given.
        absent: stage name to the reason it did not run.
    """

    dataset: Path
    profile: str
    profile_reason: str
    videos: tuple[VideoReport, ...]
    absent: Mapping[str, str]

    @property
    def failed(self) -> tuple[VideoReport, ...]:
        """The sources that failed."""
        return tuple(v for v in self.videos if v.status == "failed")


@dataclass(frozen=True)
class FrameComparison:
    """How two images differ.

    Attributes:
        similarity: cosine of their global embeddings, -1..1; None without an embedder.
        appeared: label to how many more instances the second image has.
        disappeared: label to how many fewer.
        common: label to how many both have.
    """

    similarity: float | None
    appeared: dict[str, int]
    disappeared: dict[str, int]
    common: dict[str, int]


@dataclass(frozen=True)
class MemoryStats:
    """Memory of this process.

    Attributes:
        resident_bytes: of main memory, held by the process.
        devices: those that torch models are on, and what each model takes of them.
    """

    resident_bytes: int
    devices: tuple[DeviceMemoryStats, ...]


class Engine:
    """Models of one profile, and what they can do. A context manager.

    >>> with Engine(profile="embedded") as engine:                    # doctest: +SKIP
    ...     result = engine.process("clip.mp4", out="ds", fps=2.0)

    Args:
        profile: a profile of the catalog, or `auto` for the best that this machine can run.
        models: role to model id, overriding the profile.
        workers: worker threads of a process; by default one a core.
        executor: "local" runs in this process, or where there are several devices in one process
            a device; "ray" runs the chunks of a video on a ray cluster that shares `out`'s folder.
        devices: one worker process for each, such as ("cuda:0", "cuda:1"); by default every GPU
            where there are several and a model of the selection can use one.

    Raises:
        UsageError: an unknown profile, role, model, executor or device.
        MissingExtraError: ray was asked for and is not installed.
    """

    def __init__(
        self,
        profile: str = "auto",
        models: Mapping[str, str] | None = None,
        workers: int | None = None,
        executor: Executor = "local",
        devices: Sequence[str] | None = None,
    ) -> None:
        steady()
        if workers is not None and workers < 1:
            raise UsageError(f"workers is {workers}: give at least 1")
        self._models = Loaded(loader.resolve(profile, dict(models or {})))
        self._workers = workers
        self._fetched: set[str] = set()
        self._crew: Crew | None = crew_for(self.selection, executor, devices, workers)

    @property
    def selection(self) -> loader.Selection:
        """Which model plays each role, and why some roles have none."""
        return self._models.selection

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unload_models()

    def load_models(self) -> None:
        """Load every model now; otherwise each is loaded when it is first needed. A role whose
        weights cannot be had moves to `selection.missing`."""
        self._fetch(set(self.selection.models))
        for role in self.selection.models:
            self.role(role)

    def unload_models(self) -> None:
        """Free every model and end the worker processes; the next use loads them again."""
        self._models.close()
        if self._crew is not None:
            self._crew.close()
        released()

    def memory_stats(self) -> MemoryStats:
        """Memory of this process, and what each model takes of the devices that torch models were
        loaded on; worker processes have their own."""
        return MemoryStats(resident_bytes(), tuple(memory_stats()))

    def role(self, name: str) -> Any:
        """The loaded model that plays a role (see `stpe.models.roles`).

        Raises:
            UsageError: there is no such role.
            ModelError: no model plays it here; the message says why.
        """
        return self._models.role(name)

    def plan(
        self,
        *,
        fps: Fps = 2.0,
        resolution: Resolution = 854,
        signals: Sequence[str] | None = None,
        without: Sequence[str] = (),
        concepts: Sequence[str] = (),
        context: str = "",
        camera: str | Path = "",
        state: str | Path | None = None,
        image_fps: float | None = None,
        pooling: str | Path | None = None,
    ) -> Plan:
        """What `process` with the same arguments would run. Raises UsageError."""
        size = resolution if isinstance(resolution, tuple) else None
        long_side = resolution if isinstance(resolution, int) else None
        rate = None if fps == "native" else float(fps)
        sampling = Sampling(rate, size, long_side, image_fps)
        known, images = read_camera(camera)
        log_file = None if state is None else StateFile.of(state)
        module = None if pooling is None else ModuleFile.of(pooling)
        request = Request(spelled_out(concepts), context, log_file, known, images, module)
        return make_plan(self.selection, request, sampling, signals, without)

    def process(
        self,
        source: str | Path | Sequence[str | Path],
        out: str | Path,
        *,
        fps: Fps = 2.0,
        resolution: Resolution = 854,
        signals: Sequence[str] | None = None,
        without: Sequence[str] = (),
        concepts: Sequence[str] = (),
        context: str = "",
        camera: PerSource = None,
        state: PerSource = None,
        image_fps: float | None = None,
        pooling: str | Path | None = None,
        replace: bool = False,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Process sources into the dataset at `out`; each is whole in it afterwards, or not there.

        Calling again with the same arguments does nothing; after an interruption it continues;
        with other `signals` it adds those to what is there. What is there is renewed (by another
        model, option or version) or lost (other frames) with `replace` only.

        Args:
            source: a file, folder, ZIP or URL, or several; what `stpe.video.expansion` finds in
                a folder of videos, a folder of folders of frames, a LeRobot dataset, or by a
                pattern such as "clips/*.mp4". One source raises its error; of several, those
                that failed are listed in the result.
            out: dataset folder, made if missing.
            fps: analysis frames a second, or "native" for every frame.
            resolution: size of analysis frames.
            signals: `table.column` or table names to store; None for everything.
            without: names not to store.
            concepts: words for what to look for, or a list of them: "@general", "@game".
            context: what the viewer should know, for captions.
            camera: a file, or JSON, of what is known of the camera (`stpe.state.camera_file`):
                intrinsics, without which a field of view is assumed, poses, depth images. They
                replace the estimates where the measured flow does not speak against them. Of
                several sources: a mapping from source to file, or one file a source in order.
            state: a log of the game or robot to match to the frames; of several as `camera`.
            image_fps: rate of a folder or ZIP of images that carry no times; 30 by default.
            pooling: a module of `stpe train --weights` in place of parameter-free pooling.
            replace: what the dataset holds of a source may be renewed or dropped.
            limits: what is refused of a source.
            progress: told what happens.

        Raises:
            UsageError: wrong arguments, or something stored would be lost without `replace`.
            StpeError: an unusable dataset folder, or the one source's error.
            InterruptedRunError: Ctrl-C or SIGTERM; the same call resumes.
        """
        watcher = progress or Progress()
        sweep()
        found = expand([source] if isinstance(source, (str, Path)) else list(source))
        if not found.uris:
            raise UsageError("no source was given")
        for note in found.notes:
            watcher.note(note)
        uris = found.uris
        alone = isinstance(source, (str, Path)) and len(uris) == 1
        logs = [g or f for g, f in zip(paired(state, uris, "state"), found.states, strict=True)]
        cameras = paired(camera, uris, "camera")

        @cache
        def choose(log_file: Given | None, known: Given | None) -> Plan:
            return self.plan(
                fps=fps,
                resolution=resolution,
                signals=signals,
                without=without,
                concepts=concepts,
                context=context,
                camera=known or "",
                state=log_file,
                image_fps=image_fps,
                pooling=pooling,
            )

        def plan_of(number: int) -> Plan:
            return choose(logs[number], cameras[number])

        if not alone:
            for file in (log for log in logs if log):
                if not Path(file).exists():
                    raise UsageError(f"there is no state log {file}")

        def usual() -> Plan:
            """The plan of the first source whose log can be read."""
            unread: list[SourceError] = []
            for given in dict.fromkeys(zip(logs, cameras, strict=True)):
                try:
                    return choose(*given)
                except SourceError as error:
                    unread.append(error)
            if alone:
                raise unread[0]
            try:
                return choose(None, None)
            except UsageError:  # all that is asked for would come from logs
                raise unread[0] from None

        for line in self.selection.falls:
            watcher.note(f"profile {line}")
        plan = usual()
        loader.refuse_gaps(self.selection, plan.roles)
        while not self._fetch({r for n in plan.nodes for r in n.roles}, watcher):
            loader.refuse_gaps(self.selection, plan.roles)
            choose.cache_clear()
            plan = usual()
        watcher.sources(len(uris))
        reports: dict[int, VideoReport] = {}
        with DatasetWriter(out) as writer, writer.left_as_found():
            ends = self._ends(plan_of, uris, writer, watcher, limits, replace)
            try:
                with closing(ends):
                    for number, begun, ended in ends:
                        if isinstance(ended, VideoReport):
                            report = ended
                        elif alone or isinstance(ended, (DatasetError, ModelError, UsageError)):
                            raise ended
                        else:
                            log.debug("%s failed", uris[number], exc_info=ended)
                            took = time.perf_counter() - begun
                            report = VideoReport(uris[number], None, "failed", _line(ended), took)
                        watcher.done(report)
                        reports[number] = report
            except KeyboardInterrupt:
                raise InterruptedRunError(
                    "interrupted; the same call continues where it stopped"
                ) from None
        return Result(
            Path(out),
            self.selection.profile,
            self.selection.reason,
            tuple(reports[number] for number in range(len(uris))),
            plan.absent,
        )

    def _ends(
        self,
        plan_of: Callable[[int], Plan],
        uris: Sequence[str],
        writer: DatasetWriter,
        watcher: Progress,
        limits: Limits | None,
        replace: bool,
    ) -> Generator[Ended, None, None]:
        """How each source ends. With several devices, sources that can keep all of them busy run
        whole on one each; of the rest each is shared by all."""
        whole = 0
        if self._crew is not None and len(uris) > 1:
            devices = self._crew.start()
            whole = len(uris) // devices * devices if devices > 1 else 0
        if self._crew is not None and whole:
            crew, role = self._crew, self.role
            first = uris[:whole]
            yield from process_whole(plan_of, first, writer, role, watcher, crew, limits, replace)
        for number in range(whole, len(uris)):
            begun = time.perf_counter()
            try:
                report = process_source(
                    plan_of(number),
                    uris[number],
                    writer,
                    self.role,
                    watcher,
                    self._workers,
                    limits,
                    self._crew,
                    replace,
                )
            except Exception as error:
                yield number, begun, error
            else:
                yield number, begun, report

    process_video = process

    def _fetch(self, roles: set[str], watcher: Progress | None = None) -> bool:
        """Have the weights of these roles here. False if that changed the selection, which asks for
        a new plan: those that cannot be had are missing, those of a hub known by their commit."""
        fresh = roles - self._fetched
        if not fresh:
            return True
        chosen = {role: self.selection.models[role] for role in sorted(fresh)}
        watch = (watcher or Progress()).fetching
        got = loader.prepare(changed(self.selection, models=chosen), watch)
        self._fetched |= fresh
        left = {r: m for r, m in self.selection.models.items() if r in got.models or r not in fresh}
        left |= got.models
        same = left == self.selection.models
        self._models.selection = changed(self.selection, models=left, missing=got.missing)
        return same

    def process_frame(
        self, image_HW3: ImageHW3, *, concepts: Sequence[str] = (), context: str = ""
    ) -> Any:
        """Signals of one RGB uint8 image: a `FrameSignals` with the columns of `frames` and its
        `objects`, in pixels of the image. What needs more than one frame is None."""
        request = Request(concepts=spelled_out(concepts), context=context)
        return frame_signals(_rgb(image_HW3), self.selection, self.role, request)

    def embed_image(self, image_HW3: ImageHW3) -> NDArray[np.float32]:
        """Global embedding of an RGB image, D float32, unit L2."""
        embedding = self.role("image_embedder").embed([_rgb(image_HW3)])[0].global_D
        return np.asarray(embedding, np.float32)

    def caption(self, image_HW3: ImageHW3, context: str = "") -> dict[str, str]:
        """`brief`, `normal` and `detailed` text for an RGB image: narrated from its signals, or
        by the captioner, where the profile has one, from the image and those facts."""
        image = _rgb(image_HW3)
        levels = ("brief", "normal", "detailed")
        wanted = [f"frames.caption_{level}" for level in levels]
        request = Request(context=context)
        frame = frame_signals(image, self.selection, self.role, request, wanted)
        told = {level: getattr(frame, f"caption_{level}") or "" for level in levels}
        if "captioner" not in self.selection.models:
            return told
        return dict(self.role("captioner").caption([image], told["detailed"], context))

    def compare_frames(self, a_HW3: ImageHW3, b_HW3: ImageHW3) -> FrameComparison:
        """Similarity of two images, and which objects the second has more or fewer of."""
        wanted = ("frames.embedding", "objects.label")
        first, second = (
            frame_signals(_rgb(image), self.selection, self.role, Request(), wanted)
            for image in (a_HW3, b_HW3)
        )
        similarity = None
        if first.embedding is not None and second.embedding is not None:
            similarity = float(np.dot(first.embedding, second.embedding))
        labels = [Counter(o.label for o in frame.objects) for frame in (first, second)]
        return FrameComparison(
            similarity,
            appeared=dict(labels[1] - labels[0]),
            disappeared=dict(labels[0] - labels[1]),
            common=dict(labels[0] & labels[1]),
        )


def _line(error: Exception) -> str:
    """One line for an error; one that nobody foresaw is named by its type."""
    if isinstance(error, StpeError):
        return str(error)
    return " ".join(f"unexpected {type(error).__name__}: {error}; --debug shows where".split())


def _rgb(image: ImageHW3) -> ImageHW3:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(
            f"an image must be HxWx3 uint8 RGB, and this is {image.shape} {image.dtype}"
        )
    return np.ascontiguousarray(image)
