"""Stages at work on the chunks in flight: windows as tasks, outputs as artifacts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from stpe.errors import StageError, StpeError
from stpe.models.notes import noted
from stpe.models.remembering import remembering
from stpe.pipeline.artifacts import Artifact, ArtifactStore
from stpe.pipeline.chunks import Chunk
from stpe.pipeline.keys import Keyring
from stpe.pipeline.plan import Node, Plan
from stpe.pipeline.pool import Pool, Task
from stpe.pipeline.progress import Progress
from stpe.pipeline.reader import Reader
from stpe.pipeline.tables import concat, conform, sort, within
from stpe.stages.stage import Output, Span, Stage, Window
from stpe.video.frame import Frame, SourceInfo

#: Loads the model that plays a role.
Models = Callable[[str], Any]
_Queued = tuple[tuple[int, ...], Task]
#: Whole-video work comes after every chunk.
_LAST = 1 << 40


@dataclass
class Spent:
    """What one stage cost in this run: seconds inside `process`, windows, chunks made, reused."""

    seconds: float = 0.0
    windows: int = 0
    made: int = 0
    reused: int = 0

    def add(self, other: Spent) -> None:
        """What a crew member spent counts too; what it found was found by others of this run."""
        self.seconds += other.seconds
        self.windows += other.windows
        self.made += other.made


@dataclass
class _Place:
    """A chunk in flight, or the whole video."""

    span: Span
    number: int | None
    frames: dict[str, list[Frame]] = field(default_factory=dict)
    core: dict[str, tuple[int, int]] = field(default_factory=dict)
    users: dict[str, int] = field(default_factory=dict)  # jobs that still need a grid's frames
    names: list[str] = field(default_factory=list)
    unwritten: int = 0


@dataclass
class _Job:
    """One stage on one place."""

    node: Node
    place: _Place
    priority: tuple[int, int]
    waiting: int = 0
    dependents: list[_Job] = field(default_factory=list)
    windows: list[tuple[int, int]] = field(default_factory=list)  # (first core frame, count)
    outputs: list[Mapping[str, pa.Table]] = field(default_factory=list)
    left: int = 0
    state: pa.Table | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    rows: dict[str, pa.Table] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Jobs:
    """Runs stages on released chunks. Shared state is guarded by the pool's lock.

    Attributes:
        places: chunks (or whole videos) in flight: released and not yet on disk.
        spent: by stage name.
        written: keys of the artifacts put on disk.
    """

    def __init__(
        self,
        plan: Plan,
        info: SourceInfo,
        ring: Keyring,
        store: ArtifactStore,
        reader: Reader,
        models: Models,
        progress: Progress,
        pool: Pool,
    ) -> None:
        self.places = 0
        self.written: set[str] = set()
        self.spent = {node.name: Spent() for node in plan.nodes}
        self._plan = plan
        self._info = info
        self._ring = ring
        self._store = store
        self._reader = reader
        self._models = models
        self._progress = progress
        self._pool = pool
        self._order = _ranks(plan)
        self._stages: dict[str, Stage] = {}
        self._stage_locks = {node.name: threading.Lock() for node in plan.nodes}
        self._warm: set[str] = set()
        self._held: dict[str, list[_Queued]] = {}
        self._running: dict[tuple[str, int | None], _Job] = {}

    def release(self, nodes: Sequence[Node], span: Span, chunk: Chunk | None) -> None:
        """Let stages begin on a chunk (None: the whole video), each when what it reads is there."""
        number = None if chunk is None else span.index
        place = _Place(span, number)
        if chunk is not None:
            place.frames, place.core = chunk.frames, chunk.core
        with self._pool.changed:
            self.places += 1
            place.unwritten = len(nodes)
            place.names = [node.name for node in nodes]
            if chunk is not None:
                self._reader.base[span.index] = chunk.rows
            jobs = [self._job(node, place) for node in nodes]
            for grid in set(place.frames) - set(place.users):
                del place.frames[grid]
            for job in jobs:
                if job.waiting == 0:
                    self._begin(job)

    def _job(self, node: Node, place: _Place) -> _Job:
        chunk = _LAST if place.number is None else place.number
        job = _Job(node, place, (chunk, self._order[node.name]))
        before = [(name, place.number) for name in node.upstream]
        if node.stage.ordered and place.number:
            before.append((node.name, place.number - 1))
        for other in filter(None, map(self._running.get, before)):
            job.waiting += 1
            other.dependents.append(job)
        self._running[node.name, place.number] = job
        if node.grid is not None:
            place.users[node.grid.name] = place.users.get(node.grid.name, 0) + 1
        return job

    def _begin(self, job: _Job) -> None:
        stage, place = job.node.stage, job.place
        if job.node.grid is None:
            job.windows = [(0, 0)]
        else:
            first, count = place.core[job.node.grid.name]
            step = stage.length or max(count, 1)
            job.windows = [(first + i, min(step, count - i)) for i in range(0, count, step)]
        job.left = len(job.windows)
        job.outputs = [{} for _ in job.windows]
        if not job.windows:
            self._pool.submit((*job.priority, 0), lambda: self._pass_on(job))
            return
        parallel = 1 if stage.ordered else len(job.windows)
        tasks: list[_Queued] = [
            ((*job.priority, i), partial(self._run, job, i)) for i in range(parallel)
        ]
        name = job.node.name
        if name in self._held:
            self._held[name] += tasks
            return
        if name not in self._warm:
            # A stage's first window loads and compiles its models. Another beside it would only
            # hold a core waiting for that, so the rest are held back until it is through.
            self._held[name] = tasks[1:]
            del tasks[1:]
        for priority, task in tasks:
            self._pool.submit(priority, task)

    def _pass_on(self, job: _Job) -> None:
        if job.node.stage.ordered and job.place.number:
            job.state = self._reader.state(job.node.name, job.place.number - 1)
        self._finish(job)

    def _run(self, job: _Job, i: int) -> None:
        stage = self._stage(job.node)
        with job.lock:
            if job.rows is None:
                job.rows = self._rows(job)
                if job.node.stage.ordered and job.place.number:
                    job.state = self._reader.state(job.node.name, job.place.number - 1)
        window = self._window(job, i)
        begun = time.perf_counter()
        try:
            with noted() as notes:
                output = stage.process(window)
        except StpeError as error:
            raise StageError(f"{_where(job, window)}: {error}") from error
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise StageError(f"{_where(job, window)} failed with {what}") from error
        seconds = time.perf_counter() - begun
        tables = conformed(job.node, output)
        share = (job.place.span.end_pts - job.place.span.start_pts) / len(job.windows)
        self._progress.advance(job.node.name, share, reused=False)
        with self._pool.changed:
            spent = self.spent[job.node.name]
            spent.seconds += seconds
            spent.windows += 1
            job.seconds += seconds
            job.notes += notes
            job.outputs[i] = tables
            job.left -= 1
            done = job.left == 0
            self._warm.add(job.node.name)
            for priority, task in self._held.pop(job.node.name, ()):
                self._pool.submit(priority, task)
            if job.node.stage.ordered:
                job.state = output.state
                if not done:
                    self._pool.submit((*job.priority, i + 1), lambda: self._run(job, i + 1))
        if done:
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        """Make the artifact, release what waits for it, and have it written."""
        name, place = job.node.name, job.place
        tables = {
            table: sort(table, concat([o[table] for o in job.outputs if table in o]))
            for table in sorted({t for o in job.outputs for t in o})
        }
        facts = {
            "seconds": job.seconds,
            "rows": sum(t.num_rows for t in tables.values()),
            "notes": list(dict.fromkeys(job.notes)),
        }
        artifact = Artifact(tables, job.state, facts)
        job.outputs, job.rows = [], None
        with self._pool.changed:
            self._reader.fresh[name, place.number] = artifact
            self.spent[name].made += 1
            if job.node.grid is not None:
                grid = job.node.grid.name
                place.users[grid] -= 1
                if place.users[grid] == 0:
                    del place.frames[grid]
            for other in job.dependents:
                other.waiting -= 1
                if other.waiting == 0:
                    self._begin(other)
            del self._running[name, place.number]
        key = self._ring.keys[name, place.number]
        self._pool.write(lambda: self._write(place, key, artifact))

    def _write(self, place: _Place, key: str, artifact: Artifact) -> None:
        self._store.write(key, artifact)
        with self._pool.changed:
            self.written.add(key)
            place.unwritten -= 1
            if place.unwritten == 0:
                for name in place.names:
                    del self._reader.fresh[name, place.number]
                if place.number is not None:
                    del self._reader.base[place.number]
                self.places -= 1
                self._pool.changed.notify_all()

    def _stage(self, node: Node) -> Stage:
        with self._stage_locks[node.name]:
            if node.name not in self._stages:
                models = {role: remembering(self._models(role)) for role in node.roles}
                self._stages[node.name] = node.stage(models, self._plan.request)
            return self._stages[node.name]

    def _rows(self, job: _Job) -> dict[str, pa.Table]:
        return {r.table: self._reader.rows(r, job.place.number) for r in job.node.reads}

    def _window(self, job: _Job, i: int) -> Window:
        place, rows = job.place, job.rows or {}
        if job.node.grid is None:
            return Window(self._info, place.span, rows=rows, state=job.state)
        first, count = job.windows[i]
        frames = place.frames[job.node.grid.name]
        start, end = _context(job.node.stage, frames, first, count)
        if job.node.stage.length is not None:
            core = [frame.index for frame in frames[first : first + count]]
            rows = {table: within(found, core) for table, found in rows.items()}
        return Window(
            source=self._info,
            span=place.span,
            frames=frames[start:end],
            before=first - start,
            core=count,
            rows=rows,
            state=job.state,
        )


def _ranks(plan: Plan) -> dict[str, int]:
    """Within a chunk, stages that the longest line of others waits for go first, so that what
    nobody waits for fills the cores that a serial stage leaves idle."""
    height = dict.fromkeys((node.name for node in plan.nodes), 0)
    for node in reversed(plan.nodes):
        for name in node.upstream:
            height[name] = max(height[name], height[node.name] + 1)
    order = sorted(range(len(plan.nodes)), key=lambda i: (-height[plan.nodes[i].name], i))
    return {plan.nodes[i].name: rank for rank, i in enumerate(order)}


def conformed(node: Node, output: Output) -> dict[str, pa.Table]:
    """A stage's output checked against what it announced. Raises StageError."""
    written: dict[str, list[str]] = {}
    for signal in node.stage.writes:
        table, column = signal.split(".")
        written.setdefault(table, []).append(column)
    unknown = sorted(set(output.tables) - set(written))
    if unknown:
        raise StageError(f"stage {node.name} gave rows of {', '.join(unknown)} unannounced")
    return {
        table: conform(node.name, table, columns, output.tables[table])
        for table, columns in written.items()
        if table in output.tables
    }


def _context(
    stage: type[Stage], frames: Sequence[Frame], first: int, count: int
) -> tuple[int, int]:
    """Where a window's frames begin and end, its context with them."""
    start, end = max(0, first - stage.margin[0]), min(len(frames), first + count + stage.margin[1])
    if stage.margin_s:
        earliest = frames[first].pts - stage.margin_s
        latest = frames[first + count - 1].pts + stage.margin_s
        while start and frames[start - 1].pts >= earliest:
            start -= 1
        while end < len(frames) and frames[end].pts <= latest:
            end += 1
    return start, end


def _where(job: _Job, window: Window) -> str:
    core = window.core_frames
    if core:
        return f"stage {job.node.name}, frames {core[0].index} to {core[-1].index}"
    return f"stage {job.node.name}, {window.span.start_pts:.2f} to {window.span.end_pts:.2f} s"
