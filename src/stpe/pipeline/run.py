"""One source, from opening it to its rows sealed in the dataset."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from stpe.calibration import calibrated
from stpe.dataset.logs import keep_log
from stpe.dataset.writer import DatasetWriter
from stpe.errors import UsageError
from stpe.geometry.pose_times import poses_of
from stpe.pipeline import sampling
from stpe.pipeline.artifacts import ArtifactStore
from stpe.pipeline.crew import Crew
from stpe.pipeline.estimate import shares
from stpe.pipeline.executor import Execution, execute
from stpe.pipeline.holding import Holding, refusal, video_id
from stpe.pipeline.jobs import Models
from stpe.pipeline.plan import Plan, Read, precision_of
from stpe.pipeline.progress import Progress
from stpe.pipeline.reader import Reader
from stpe.pipeline.recipe import Recipe
from stpe.pipeline.report import StageReport, VideoReport
from stpe.signals import schema
from stpe.video.limits import Limits
from stpe.video.opening import open_source
from stpe.video.source import Source

_BATCH_BYTES = 4 * 2**20
#: A file that crashes the decoder fails alone, and the others of the run go on.
_ISOLATED = Limits(isolated=True)


def process_source(
    plan: Plan,
    uri: str,
    writer: DatasetWriter,
    models: Models,
    progress: Progress,
    workers: int | None = None,
    limits: Limits | None = None,
    crew: Crew | None = None,
    replace: bool = False,
) -> VideoReport:
    """Process a source and seal it, or find that it is sealed. A crew shares the chunks.

    Args:
        replace: what is stored may be renewed or dropped.

    Raises:
        UsageError: something stored would be, and may not.
        StpeError: whatever is wrong with the source, a stage or the disk. The dataset then has
            the rows of this source that it had before, or none.
    """
    begun = time.perf_counter()
    with opened(plan, uri, limits) as source:
        if sealed(plan, uri, source, writer, replace):
            return unchanged(uri, source, begun)
        progress.source(source.info, shares(plan, source.info))
        store = ArtifactStore(writer.path / "artifacts")
        done = execute(plan, source, store, models, progress, workers, crew)
        return seal(plan, uri, source, writer, done, store, progress, begun)


def opened(plan: Plan, uri: str, limits: Limits | None) -> Source:
    """A source as the plan samples it.

    Raises:
        SourceError: it cannot be read.
        UsageError: the camera's poses are of another time.
    """
    source = open_source(uri, limits or _ISOLATED, plan.sampling.image_fps)
    try:
        poses_of(plan.request.camera, source.info)  # those of another time are refused here
    except BaseException:
        source.close()
        raise
    return source


def sealed(plan: Plan, uri: str, source: Source, writer: DatasetWriter, replace: bool) -> bool:
    """Whether the dataset has all that the plan makes of the source.

    Raises:
        UsageError: what is stored would be renewed or dropped, and `replace` is not set.
    """
    change = Holding(writer.stored, video_id(source.info.sha256)).change(Recipe.of(plan))
    if change.loses and not replace:
        raise UsageError(refusal(uri, writer.path, change))
    return change.nothing


def unchanged(uri: str, source: Source, begun: float) -> VideoReport:
    """The report on a source that was sealed before."""
    identity = video_id(source.info.sha256)
    return VideoReport(uri, identity, "unchanged", seconds=time.perf_counter() - begun)


def seal(
    plan: Plan,
    uri: str,
    source: Source,
    writer: DatasetWriter,
    done: Execution,
    store: ArtifactStore,
    progress: Progress,
    begun: float,
) -> VideoReport:
    """Put the rows of a finished source into the dataset. Raises DatasetError."""
    info = source.info
    identity = video_id(info.sha256)
    facts = {key: store.facts(key) for key in done.keys.values()}
    noted = dict.fromkeys(note for f in facts.values() for note in f.get("notes", ()))
    noted |= dict.fromkeys(_nothing_found(plan, done, facts))
    # A member of a crew that opened the packed media did not see what lay beside it.
    warnings = list(dict.fromkeys([*done.timeline.facts["warnings"], *info.warnings, *noted]))
    holding, recipe = Holding(writer.stored, identity), Recipe.of(plan)
    log = None if plan.request.state is None else keep_log(writer.path, plan.request.state.path)
    if holding.change(recipe).keeps:
        columns = ["warnings", "state_sha256"]
        (before,) = writer.stored.rows_of("videos", identity, columns).to_pylist()
        warnings = list(dict.fromkeys([*(before["warnings"] or ()), *warnings]))
        log = log or before["state_sha256"]
    done.reader.facts = {**done.reader.facts, "warnings": warnings, "state_sha256": log}
    writer.add_media(info.sha256, source.media)
    counts: dict[str, int] = {}
    made = {table: _batches(read, done, plan) for table, read in plan.tables.items()}
    made["artifacts"] = iter([_provenance(plan, done, facts)])
    joined = holding.joined(recipe, made)
    tables = {t: _counted(t, batches, counts, progress) for t, batches in joined.tables.items()}
    noted_plan = joined.recipe.document()
    writer.commit(identity, joined.recipe.key, tables, joined.untouched, noted_plan)
    reports = tuple(
        StageReport(name, spent.seconds, spent.windows, spent.made, spent.reused)
        for name, spent in done.spent.items()
    )
    return VideoReport(
        uri,
        identity,
        "done",
        seconds=time.perf_counter() - begun,
        duration_s=done.timeline.facts["duration_s"],
        rows=counts,
        stages=reports,
        warnings=tuple(warnings),
        change=joined.change if joined.change.keeps else None,
    )


def _nothing_found(
    plan: Plan, done: Execution, facts: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """What to say where the user asked for things and the video shows none."""
    keys = [key for (stage, _), key in done.keys.items() if stage == "objects"]
    if not keys or not plan.request.concepts or any(facts[key]["rows"] for key in keys):
        return []
    asked = ", ".join(repr(concept) for concept in plan.request.concepts)
    return [f"concepts: nothing was found of {asked}, and no object without a name"]


def _batches(read: Read, done: Execution, plan: Plan) -> Iterator[pa.RecordBatch]:
    """Rows of one table, from one chunk at a time, in batches that Lance can hold several of."""
    reader: Reader = done.reader
    if reader.chunked(read):
        parts: Iterable[pa.Table] = (reader.chunk(read, span.index) for span in done.timeline.spans)
    else:
        parts = [reader.video(read)]
    for made in parts:
        part = calibrated(read.table, made, plan.stored)
        rows = max(1, part.num_rows * _BATCH_BYTES // max(part.nbytes, 1))
        yield from part.to_batches(max_chunksize=rows)


def _counted(
    table: str, batches: Iterator[pa.RecordBatch], counts: dict[str, int], progress: Progress
) -> Iterator[pa.RecordBatch]:
    progress.storing(table)
    counts[table] = 0
    for batch in batches:
        counts[table] += batch.num_rows
        yield batch


def _provenance(
    plan: Plan, done: Execution, facts: Mapping[str, Mapping[str, Any]]
) -> pa.RecordBatch:
    """The `artifacts` rows: what decoding found, what each stage made of each chunk, and which
    stages are absent."""
    records: list[dict[str, Any]] = [
        {
            "stage": "decode",
            "version": sampling.VERSION,
            "key": done.timeline_key,
            "models": [],
            "rows": done.timeline.frames.num_rows,
        }
    ]
    for node in plan.nodes:
        models = [
            {
                "role": role,
                "model": model.id,
                "sha256": model.sha256 or None,
                "licence": str(model.licence),
                "precision": precision_of(model),
            }
            for role, model in ((r, plan.selection.models[r]) for r in node.roles)
        ]
        for (name, chunk), key in done.keys.items():
            if name == node.name:
                records.append(
                    {
                        "stage": name,
                        "chunk": chunk,
                        "version": node.stage.version,
                        "key": key,
                        "models": models,
                        "seconds": facts[key]["seconds"],
                        "rows": facts[key]["rows"],
                        "reason": "; ".join(facts[key].get("notes", ())) or None,
                    }
                )
    records += [{"stage": name, "reason": reason} for name, reason in plan.absent.items()]
    records.sort(key=lambda r: (r["stage"], -1 if r.get("chunk") is None else r["chunk"]))
    return pa.RecordBatch.from_pylist(records, schema=schema("artifacts"))
