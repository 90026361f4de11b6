"""The local executor: one decode pass, a few chunks in flight, a worker thread a core.

Work is (stage, chunk, window). The caller's thread decodes and releases chunks; workers take the
windows of the earliest chunk first, stages in the plan's order within it; a finished stage
releases those that read it. Artifacts are written by a thread of their own, so that no core waits
for a disk. Another executor is another `execute` with the same arguments and result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from stpe.errors import SourceError
from stpe.models.backends.openvino.session import core_count
from stpe.pipeline.artifacts import ArtifactStore
from stpe.pipeline.chunks import Chunk, Cutter, Timeline
from stpe.pipeline.jobs import Jobs, Models, Spent
from stpe.pipeline.keys import Keyring
from stpe.pipeline.plan import Node, Plan
from stpe.pipeline.pool import Pool
from stpe.pipeline.progress import Progress
from stpe.pipeline.reader import Reader
from stpe.pipeline.tables import concat
from stpe.pipeline.threads import one_thread_each
from stpe.stages.stage import ANALYSIS, Span
from stpe.video.sampler import Measured, sample
from stpe.video.source import Source

#: Chunks whose frames are held at once, besides the one being decoded.
CHUNKS_IN_FLIGHT = 3


@dataclass(frozen=True)
class Execution:
    """A finished run of a plan on a source.

    Attributes:
        timeline: chunk borders, base rows, measured facts.
        keys: artifact of each stage and chunk (None for a whole-video stage).
        spent: cost of each stage in this run.
        reader: gives the rows of any table.
    """

    timeline: Timeline
    keys: Mapping[tuple[str, int | None], str]
    spent: Mapping[str, Spent]
    reader: Reader


def execute(
    plan: Plan,
    source: Source,
    store: ArtifactStore,
    models: Models,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Execution:
    """Run what is not in the store yet.

    Raises:
        StageError: a stage failed on a window; the message names both.
        SourceError: the source yields no frame.
        DatasetError: an artifact cannot be written.
    """
    one_thread_each()
    with Pool(workers or core_count()) as pool:
        run = _Run(plan, source, store, models, progress or Progress(), pool)
        for phase in range(1 + max((node.phase for node in plan.nodes), default=0)):
            run.chunks([n for n in plan.nodes if n.phase == phase and n.stage.scope == "chunk"])
            run.video([n for n in plan.nodes if n.phase == phase and n.stage.scope == "video"])
    assert run.timeline is not None
    return Execution(run.timeline, run.ring.keys, run.jobs.spent, run.reader)


class _Run:
    """Passes over one source."""

    def __init__(
        self,
        plan: Plan,
        source: Source,
        store: ArtifactStore,
        models: Models,
        progress: Progress,
        pool: Pool,
    ) -> None:
        info = source.info
        self.source = source
        self.sampling = plan.sampling
        self.store = store
        self.progress = progress
        self.pool = pool
        self.chunk_s = plan.sampling.chunk_s(info, plan.known_grids)
        self.ring = Keyring(plan, info, self.chunk_s)
        self.timeline = self._known_timeline()
        facts = _facts(source, None) if self.timeline is None else self.timeline.facts
        self.reader = Reader(plan, store, self.ring.keys, facts, self.timeline)
        self.jobs = Jobs(plan, info, self.ring, store, self.reader, models, progress, pool)

    def chunks(self, nodes: Sequence[Node]) -> None:
        """One pass of chunk stages, decoding only where pixels are needed."""
        if self.timeline is None:
            self._first_pass(nodes)
            return
        missing: dict[int, list[Node]] = {}
        for span in self.timeline.spans:
            found = self._missing(nodes, span)
            if found:
                missing[span.index] = found
        if any(node.grid is not None for found in missing.values() for node in found):
            self._decode_missing(missing)
        else:
            for number, found in missing.items():
                rows = self.timeline.rows(number)
                self._release(found, Chunk(self.timeline.spans[number], rows))
        self._drain()

    def video(self, nodes: Sequence[Node]) -> None:
        """Stages of the whole video."""
        assert self.timeline is not None
        spans = self.timeline.spans
        span = Span(0, spans[0].start_pts, spans[-1].end_pts, last=True)
        missing = self._missing(nodes, span)
        if missing:
            self.jobs.release(missing, span, None)
            self._drain()

    def _first_pass(self, nodes: Sequence[Node]) -> None:
        analysis = self.sampling.resolve(ANALYSIS)
        grids, margins = _decoded(nodes)
        grids.setdefault(ANALYSIS.name, analysis)
        margins.setdefault(ANALYSIS.name, (0, 0))
        interval_s = 1 / (self.sampling.fps or self.source.info.fps or 30.0)
        cutter = Cutter(margins, self.chunk_s, interval_s)
        done: list[Chunk] = []

        def take(chunk: Chunk) -> None:
            done.append(Chunk(chunk.span, chunk.rows))
            found = self._missing(nodes, chunk.span)
            if found:
                self._release(found, chunk)

        with closing(sample(self.source, list(grids.values()))) as sampler:
            for item in sampler:
                for chunk in cutter.push(item):
                    take(chunk)
            for chunk in cutter.finish():
                take(chunk)
        if not done:
            raise SourceError("the source yields no frame; check the file or re-encode it")
        frames = concat([chunk.rows for chunk in done])
        facts = _facts(self.source, sampler.measured)
        self.timeline = Timeline.of(frames, [chunk.span for chunk in done], facts)
        self.reader.timeline, self.reader.facts = self.timeline, facts
        self.progress.measured(facts["duration_s"])
        self._drain()
        self.store.write(self.ring.timeline, self.timeline.artifact())

    def _decode_missing(self, missing: Mapping[int, Sequence[Node]]) -> None:
        grids, margins = _decoded([node for found in missing.values() for node in found])
        cutter = Cutter(margins, self.chunk_s, 0.0, self.timeline)
        left = len(missing)
        with closing(sample(self.source, list(grids.values()))) as sampler:
            for item in sampler:
                for chunk in cutter.push(item):
                    left -= self._release(missing.get(chunk.span.index, ()), chunk)
                if not left:
                    return
            for chunk in cutter.finish():
                left -= self._release(missing.get(chunk.span.index, ()), chunk)
        if left:
            raise SourceError("the source no longer decodes to the frames it gave the first time")

    def _release(self, nodes: Sequence[Node], chunk: Chunk) -> bool:
        if not nodes:
            return False
        self.pool.wait(lambda: self.jobs.places < CHUNKS_IN_FLIGHT)
        self.jobs.release(nodes, chunk.span, chunk)
        return True

    def _drain(self) -> None:
        self.pool.wait(lambda: self.jobs.places == 0)

    def _missing(self, nodes: Sequence[Node], span: Span) -> list[Node]:
        """Those of `nodes` whose artifact is not in the store; the others are noted as reused."""
        chunks = None if self.timeline is None else len(self.timeline.spans)
        missing = []
        for node in nodes:
            if self.store.has(self.ring.add(node, span, chunks)):
                self.jobs.spent[node.name].reused += 1
                self.progress.advance(node.name, span.end_pts - span.start_pts, reused=True)
            else:
                missing.append(node)
        return missing

    def _known_timeline(self) -> Timeline | None:
        key = self.ring.timeline
        if not self.store.has(key):
            return None
        return Timeline.load(self.store, key, self.source.info.uri)


def _decoded(nodes: Sequence[Node]) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Grids the stages look at, and for each the most context any of them needs."""
    grids: dict[str, Any] = {}
    margins: dict[str, tuple[int, int]] = {}
    for node in nodes:
        if node.grid is not None:
            name = node.grid.name
            grids[name] = node.grid
            before, after = margins.get(name, (0, 0))
            margins[name] = max(before, node.stage.margin[0]), max(after, node.stage.margin[1])
    return grids, margins


def _facts(source: Source, measured: Measured | None) -> dict[str, Any]:
    """The `videos` columns the pipeline fills; before the end of decoding, those known by then."""
    info = source.info
    facts: dict[str, Any] = {
        "uri": info.uri,
        "sha256": info.sha256,
        "kind": info.kind,
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "fps": None,
        "start_pts": None,
        "duration_s": None,
        "frame_count": None,
        "warnings": None,
    }
    if measured is not None:
        facts |= {
            "fps": measured.fps,
            "start_pts": measured.first_pts,
            "duration_s": measured.duration_s,
            "frame_count": measured.frame_count,
            "warnings": list(measured.warnings),
        }
    return facts
