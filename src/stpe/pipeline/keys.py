"""The content key of every artifact: a hash of all that its bytes depend on."""

from __future__ import annotations

from stpe.pipeline import sampling
from stpe.pipeline.artifacts import content_key
from stpe.pipeline.plan import Node, Plan
from stpe.stages.stage import Span
from stpe.state.identity import name_of
from stpe.video.frame import SourceInfo


class Keyring:
    """Keys of one source's artifacts under one plan, filled in the order of chunks and stages.

    Attributes:
        keys: by stage name and chunk number (None for a whole-video stage).
        timeline: key of the chunk borders.
    """

    def __init__(self, plan: Plan, info: SourceInfo, chunk_s: float) -> None:
        self.keys: dict[tuple[str, int | None], str] = {}
        self._plan = plan
        self._info = info
        self._video = {
            "sampling": sampling.VERSION,
            "source": info.sha256,
            "fps": plan.sampling.fps,
            "chunk_s": chunk_s,
            **plan.sampling.key,
        }
        self.timeline = content_key({"timeline": self._video})
        self._scope = {node.name: node.stage.scope for node in plan.nodes}

    def add(self, node: Node, span: Span, chunks: int | None = None) -> str:
        """Work out, note and return a key; `chunks` is how many there are, for a video stage."""
        stage = node.stage
        number = span.index if stage.scope == "chunk" else None
        grid = None
        if node.grid is not None:
            size = node.grid.frame_size(self._info.width, self._info.height)
            grid = [node.grid.name, node.grid.fps, *size]
        reads = [
            [
                read.table,
                read.creator,
                sorted((s or "", list(cs)) for s, cs in read.columns.items()),
            ]
            for read in node.reads
        ]
        key = content_key(
            {
                "video": self._video,
                "span": [span.index, span.start_pts, span.end_pts, span.last],
                "grid": grid,
                "stage": [stage.name, stage.version],
                "options": self._plan.options(node),
                "models": self._plan.models(node),
                "reads": reads,
                "upstream": {name: self._of(name, number, chunks) for name in node.upstream},
                "previous": self.keys.get((stage.name, span.index - 1)) if stage.ordered else None,
                **({"named": self._names()} if stage.named else {}),
            }
        )
        self.keys[stage.name, number] = key
        return key

    def _names(self) -> list[str | None]:
        log = self._plan.request.state
        return [name_of(self._info.uri), None if log is None else name_of(log.path)]

    def _of(self, name: str, chunk: int | None, chunks: int | None) -> str | list[str]:
        if self._scope[name] == "video":
            return self.keys[name, None]
        if chunk is not None:
            return self.keys[name, chunk]
        return [self.keys[name, i] for i in range(chunks or 0)]
