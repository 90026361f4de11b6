"""The stages that need one frame and no history, run in memory on one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

from stpe.pipeline.artifacts import Artifact, ArtifactStore
from stpe.pipeline.chunks import base_rows
from stpe.pipeline.jobs import Models, conformed
from stpe.pipeline.plan import Choice, make_plan
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
    """Those that look at one analysis frame, or at rows alone, and carry nothing along."""
    return tuple(
        s
        for s in stages
        if s.scope == "chunk"
        and not s.ordered
        and (s.grid is None or (s.grid.name == ANALYSIS.name and s.margin == (0, 0)))
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
    wanted = None if signals is None else [s for s in signals if s in written]
    plan = make_plan(choice, request, signals=wanted, stages=stages)
    height, width = image.shape[:2]
    info = SourceInfo("image", "file", "", width, height, None, None, 1)
    frame = Frame(0, 0.0, image)
    span = Span(0, 0.0, 1.0, last=True)
    reader = Reader(plan, ArtifactStore(Path()), {}, {}, None)
    reader.base[0] = base_rows([frame])
    for node in plan.nodes:
        rows = {read.table: reader.chunk(read, 0) for read in node.reads}
        stage = node.stage({role: models(role) for role in node.roles}, request)
        frames = () if node.grid is None else (frame,)
        output = stage.process(Window(info, span, frames, 0, len(frames), rows))
        reader.fresh[node.name, 0] = Artifact(conformed(node, output))
    made = {t: reader.chunk(read, 0) for t, read in plan.tables.items() if t != "videos"}
    objects = made["objects"].to_pylist() if "objects" in made else []
    frames_row = made["frames"].to_pylist()[0]
    return FrameSignals(**frames_row, objects=tuple(ObjectSignals(**row) for row in objects))
