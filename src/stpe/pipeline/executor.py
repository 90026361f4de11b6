"""The local executor: one decode pass, a few chunks in flight, a worker thread a core.

Work is (stage, chunk, window). The caller's thread decodes and releases chunks; workers take the
windows of the earliest chunk first, stages in the plan's order within it; a finished stage
releases those that read it. Artifacts are written by a thread of their own, so that no core waits
for a disk. With a crew (`stpe.pipeline.crew`), stages whose chunks can be made in any order run
in its processes first, and what they made is found in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from stpe.errors import SourceError
from stpe.models.notes import noted
from stpe.models.processor import core_count
from stpe.pipeline.artifacts import ArtifactStore
from stpe.pipeline.chunks import Chunk, Cutter, Margin, Timeline
from stpe.pipeline.crew import Crew, Made, Share, share_chunks
from stpe.pipeline.jobs import Jobs, Models, Spent
from stpe.pipeline.keys import Keyring
from stpe.pipeline.plan import Node, Plan
from stpe.pipeline.pool import Pool
from stpe.pipeline.progress import Progress
from stpe.pipeline.reader import Reader
from stpe.pipeline.rounds import Round, rounds
from stpe.pipeline.tables import concat
from stpe.pipeline.threads import one_thread_each
from stpe.stages.stage import ANALYSIS, Span
from stpe.video.frame import Grid
from stpe.video.sampler import Measured, sample
from stpe.video.source import Source

#: Chunks whose frames are held at once, besides the one being decoded. Two keep a few cores busy;
#: a third would only take memory there.
CHUNKS_IN_FLIGHT, CHUNKS_MANY_CORES = 2, 3
MANY_CORES = 5


@dataclass(frozen=True)
class Execution:
    """A finished run of a plan on a source.

    Attributes:
        timeline: chunk borders, base rows, measured facts.
        timeline_key: of its artifact.
        keys: artifact of each stage and chunk (None for a whole-video stage).
        spent: cost of each stage in this run.
        reader: gives the rows of any table.
    """

    timeline: Timeline
    timeline_key: str
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
    crew: Crew | None = None,
    made: Made | None = None,
) -> Execution:
    """Run what is not in the store yet.

    Args:
        crew: shares the chunks.
        made: what somebody made for this very run before; it does not count as reused.

    Raises:
        StageError: a stage failed on a window; the message names both.
        SourceError: the source yields no frame.
        DatasetError: an artifact cannot be written.
    """
    one_thread_each()
    with Pool(workers or core_count()) as pool:
        run = _Run(plan, source, store, models, progress or Progress(), pool)
        if made is not None:
            run.take_over(made)
        if crew is not None:
            for turn in rounds(plan.nodes) or [Round()]:
                run.share(turn.parallel, crew)
                run.chunks([*turn.parallel, *turn.ordered])
                run.video(turn.video)
        else:
            run.alone()
    assert run.timeline is not None
    return Execution(run.timeline, run.ring.timeline, run.ring.keys, run.jobs.spent, run.reader)


def execute_share(
    share: Share, source: Source, models: Models, progress: Progress, workers: int
) -> Made:
    """A crew member's part: some stages on every `parts`-th chunk, or everything there is to do, as
    artifacts in the store.

    Raises:
        StpeError: as `execute`.
    """
    one_thread_each()
    store = ArtifactStore(share.artifacts)
    with Pool(workers) as pool:
        run = _Run(share.plan, source, store, models, progress, pool)
        run.part = share.part, share.parts
        if share.stages is None:
            run.alone()
            return Made(frozenset(run.jobs.written), run.jobs.spent)
        if run.timeline is not None:
            run.name_all()
        run.chunks([node for node in share.plan.nodes if node.name in share.stages])
    spent = {name: run.jobs.spent[name] for name in share.stages}
    return Made(frozenset(run.jobs.written), spent)


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
        self.part = 0, 1  # this run's share of the chunks: every `parts`-th from the first
        self.elsewhere: set[str] = set()  # keys of what the crew made in this run
        self.plan = plan
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

    def alone(self) -> None:
        """Every stage, here."""
        for phase in range(1 + max((node.phase for node in self.plan.nodes), default=0)):
            nodes = [node for node in self.plan.nodes if node.phase == phase]
            self.chunks([node for node in nodes if node.stage.scope == "chunk"])
            self.video([node for node in nodes if node.stage.scope == "video"])

    def share(self, nodes: Sequence[Node], crew: Crew) -> None:
        """Have the crew run stages whose chunks can be made in any order."""
        spans = () if self.timeline is None else self.timeline.spans
        there = self.timeline is not None and not any(self._lacking(nodes, s) for s in spans)
        if there or not nodes:
            return
        names = tuple(node.name for node in nodes)
        for made in share_chunks(
            crew, self.plan, self.source, self.store.root, names, self.progress
        ):
            self.take_over(made)
        if self.timeline is None:
            self.timeline = self._known_timeline()
            if self.timeline is not None:
                self._measured(self.timeline)

    def take_over(self, made: Made) -> None:
        """What others made in this run is of this run."""
        self.elsewhere |= made.keys
        for name, spent in made.spent.items():
            self.jobs.spent[name].add(spent)

    def name_all(self) -> None:
        """Work out every key, for stages that read what others made before."""
        assert self.timeline is not None
        spans = self.timeline.spans
        for node in self.plan.nodes:
            whole = node.stage.scope == "video"
            for span in [self._whole()] if whole else spans:
                self.ring.add(node, span, len(spans))

    def chunks(self, nodes: Sequence[Node]) -> None:
        """One pass of chunk stages, decoding only where pixels are needed."""
        if self.timeline is None:
            self._first_pass(nodes)
            return
        missing: dict[int, list[Node]] = {}
        for span in self.timeline.spans:
            found = self._missing(nodes, span) if self._mine(span) else []
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
        span = self._whole()
        missing = self._missing(nodes, span)
        if missing:
            self.jobs.release(missing, span, None)
            self._drain()

    def _first_pass(self, nodes: Sequence[Node]) -> None:
        grids, margins = self._decoded(nodes)
        cutter = Cutter(margins, self.chunk_s)
        done: list[Chunk] = []

        def take(chunk: Chunk) -> None:
            done.append(Chunk(chunk.span, chunk.rows))
            found = self._missing(nodes, chunk.span) if self._mine(chunk.span) else []
            if found:
                self._release(found, chunk)

        with noted() as notes, closing(sample(self.source, list(grids.values()))) as sampler:
            for item in sampler:
                for chunk in cutter.push(item):
                    take(chunk)
            for chunk in cutter.finish(sampler.measured.end_pts or 0.0):
                take(chunk)
        if not done:
            raise SourceError("the source yields no frame; check the file or re-encode it")
        frames = concat([chunk.rows for chunk in done])
        facts = _facts(self.source, sampler.measured)
        facts["warnings"] += notes
        self.timeline = Timeline.of(frames, [chunk.span for chunk in done], facts)
        self._measured(self.timeline)
        self._drain()
        self.store.write(self.ring.timeline, self.timeline.artifact())

    def _decode_missing(self, missing: Mapping[int, Sequence[Node]]) -> None:
        grids, margins = self._decoded([node for found in missing.values() for node in found])
        cutter = Cutter(margins, self.chunk_s, self.timeline)
        left = len(missing)
        assert self.timeline is not None
        with closing(sample(self.source, list(grids.values()))) as sampler:
            for item in sampler:
                for chunk in cutter.push(item):
                    left -= self._release(missing.get(chunk.span.index, ()), chunk)
                if not left:
                    return
            for chunk in cutter.finish(self.timeline.spans[-1].end_pts):
                left -= self._release(missing.get(chunk.span.index, ()), chunk)
        if left:
            raise SourceError("the source no longer decodes to the frames it gave the first time")

    def _decoded(self, nodes: Sequence[Node]) -> tuple[dict[str, Grid], dict[str, Margin]]:
        """Grids the stages look at, and for each the most context any of them needs. The analysis
        grid is always among them, since every chunk has a frame of it and maybe of no other."""
        grids = {ANALYSIS.name: self.sampling.resolve(ANALYSIS)}
        margins = {ANALYSIS.name: Margin()}
        for node in nodes:
            if node.grid is not None:
                name = node.grid.name
                grids[name] = node.grid
                wanted = Margin(*node.stage.margin, node.stage.margin_s)
                margins[name] = margins.get(name, Margin()).widened(wanted)
        return grids, margins

    def _release(self, nodes: Sequence[Node], chunk: Chunk) -> bool:
        if not nodes:
            return False
        most = CHUNKS_IN_FLIGHT if self.pool.workers < MANY_CORES else CHUNKS_MANY_CORES
        self.pool.wait(lambda: self.jobs.places < most)
        self.jobs.release(nodes, chunk.span, chunk)
        return True

    def _drain(self) -> None:
        self.pool.wait(lambda: self.jobs.places == 0)

    def _missing(self, nodes: Sequence[Node], span: Span) -> list[Node]:
        """Those of `nodes` whose artifact is not in the store; the others are noted as reused,
        unless the crew made them in this run."""
        missing = self._lacking(nodes, span)
        for node in nodes:
            key = self.ring.keys[node.name, None if node.stage.scope == "video" else span.index]
            if node not in missing and key not in self.elsewhere:
                self.jobs.spent[node.name].reused += 1
                self.progress.advance(node.name, span.end_pts - span.start_pts, reused=True)
        return missing

    def _lacking(self, nodes: Sequence[Node], span: Span) -> list[Node]:
        chunks = None if self.timeline is None else len(self.timeline.spans)
        return [n for n in nodes if not self.store.has(self.ring.add(n, span, chunks))]

    def _mine(self, span: Span) -> bool:
        part, parts = self.part
        return span.index % parts == part

    def _whole(self) -> Span:
        """The whole video's place."""
        assert self.timeline is not None
        spans = self.timeline.spans
        return Span(0, spans[0].start_pts, spans[-1].end_pts, last=True)

    def _measured(self, timeline: Timeline) -> None:
        self.reader.timeline, self.reader.facts = timeline, timeline.facts
        self.progress.measured(timeline.facts["duration_s"])

    def _known_timeline(self) -> Timeline | None:
        key = self.ring.timeline
        if not self.store.has(key):
            return None
        info = self.source.info
        return Timeline.load(self.store, key, {"uri": info.uri, "kind": info.kind})


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
        "unix_start_s": info.unix_start_s,
        "duration_s": None,
        "frame_count": None,
        "warnings": None,
        "state_sha256": None,
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
