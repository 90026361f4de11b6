"""The stages that need one frame and no history, run in memory on one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

from stpe.calibration import calibrated
from stpe.pipeline.artifacts import Artifact, ArtifactStore
from stpe.pipeline.chunks import Timeline, base_rows
from stpe.pipeline.jobs import Models, conformed
from stpe.pipeline.plan import BASE, Choice, make_plan
from stpe.pipeline.reader import Reader
from stpe.signals import SIGNALS
from stpe.stages import registry
from stpe.stages.stage import ANALYSIS, Request, Span, Stage, Window
from stpe.video.frame import Frame, ImageHW3, SourceInfo


def _record(name: str, table: str, *more: tuple[str, Any, Any]) -> type[Any]:
    columns = [(s.column, Any, None) for s in SIGNALS if s.table == table]
    return make_dataclass(name, [*columns, *more], frozen=True, slots=True)


#: One instance: the columns of `objects`.
ObjectSignals = _record("ObjectSignals", "objects")
#: One image: the columns of `frames`, and its `objects`.
FrameSignals = _record("FrameSignals", "frames", ("objects", tuple, field(default=())))


def alone(stages: Sequence[type[Stage]]) -> tuple[type[Stage], ...]:
    """Those that one frame is enough for: they look at one analysis frame, or at rows alone,
    carry nothing along, wait for no option, and say something of the frame or its objects."""
    return tuple(
        s
        for s in stages
        if not s.ordered
        and not s.needs
        and (s.grid is None or (s.grid.name == ANALYSIS.name and s.margin == (0, 0)))
        and any(signal.startswith(("frames.", "objects.")) for signal in s.writes)
    )


def frame_signals(
    image: ImageHW3,
    choice: Choice,
    models: Models,
    request: Request,
    signals: Sequence[str] | None = None,
) -> Any:
    """`FrameSignals` of one RGB image, computed at the image's own size.

    Values are Python objects; embeddings and maps are lists as the vocabulary types them. A column
    whose stage needs more than one frame, or is absent, is None.

    Raises:
        StpeError: what a stage or a model raises.
    """
    stages = alone(registry.STAGES)
    written = {signal for stage in stages for signal in stage.writes}
    wanted = sorted(written if signals is None else written & set(signals))
    plan = make_plan(choice, request, signals=wanted, stages=stages)
    height, width = image.shape[:2]
    info = SourceInfo("image", "file", "", width, height, None, None, 1)
    frame = Frame(0, 0.0, image)
    span = Span(0, 0.0, 1.0, last=True)
    facts = dict.fromkeys(BASE["videos"]) | {"width": width, "height": height, "frame_count": 1}
    timeline = Timeline.of(base_rows([frame]), [span], facts)
    reader = Reader(plan, ArtifactStore(Path()), {}, facts, timeline)
    for node in plan.nodes:
        chunk = 0 if node.stage.scope == "chunk" else None
        rows = {read.table: reader.rows(read, chunk) for read in node.reads}
        stage = node.stage({role: models(role) for role in node.roles}, request)
        frames = () if node.grid is None else (frame,)
        output = stage.process(Window(info, span, frames, 0, len(frames), rows))
        reader.fresh[node.name, chunk] = Artifact(conformed(node, output))
    made = {
        table: calibrated(table, reader.rows(plan.tables[table], 0), plan.stored)
        for table in ("frames", "objects")
        if table in plan.tables
    }
    objects = made["objects"].to_pylist() if "objects" in made else []
    frames_row = made["frames"].to_pylist()[0]
    return FrameSignals(**frames_row, objects=tuple(ObjectSignals(**row) for row in objects))
