"""The contract of a stage.

A video is cut into chunks of a few seconds. For each chunk the executor cuts the stage's frames
into windows, calls `process` once a window (in any order and in parallel, unless `ordered`), and
concatenates the outputs into the chunk's artifact. A stage without a grid gets rows and no pixels.
A stage with `scope = "video"` is called once, after every chunk, and gets rows of the whole video.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pyarrow as pa

from stpe.models.catalog import Model
from stpe.models.temporal import ModuleFile
from stpe.state.reading import StateFile
from stpe.video.frame import Frame, Grid, SourceInfo

#: The user's sampling grid (`--fps`, `--resolution`). `frames` rows are exactly its frames.
ANALYSIS = Grid("analysis")
#: Every decoded frame, as small as letters on a title card can still be told apart.
THUMBNAILS = Grid("thumbnails", fps=None, size=(128, 72))
#: Frames for clip encoders that do not say what they want: 32 of them are 2.56 s.
CLIPS = Grid("clips", fps=12.5, long_side=320)
#: About ten frames a second, a multiple of the analysis rate, so that it contains every
#: analysis frame; at most 480 pixels long.
MOTION = Grid("motion", fps=10.0, long_side=480)


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk's place: `start_pts <= pts < end_pts`; `last` marks the video's final chunk."""

    index: int
    start_pts: float
    end_pts: float
    last: bool = False


@dataclass(frozen=True)
class Window:
    """What one call of `process` sees.

    Attributes:
        source: the video's facts (stored size, fps).
        span: the chunk this window lies in.
        frames: frames on the stage's grid: `before` context frames, the core, then context after.
            Context is shorter at the ends of the video.
        before: how many leading entries of `frames` are context.
        core: how many entries after them the stage must answer for.
        rows: for each table among the stage's reads, the rows whose `frame_index` is one of the
            core frames (whole chunk for a chunk-long window; whole video for a video stage),
            sorted by key, holding the key columns and the columns read. A table whose every signal
            read is optional and absent is missing from the mapping. Reading a key column
            (`frames.frame_index`) asks for the bare rows of a table.
        state: what the previous call returned, for an ordered stage; None at the video's start.
    """

    source: SourceInfo
    span: Span
    frames: Sequence[Frame] = ()
    before: int = 0
    core: int = 0
    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    state: pa.Table | None = None

    @property
    def core_frames(self) -> Sequence[Frame]:
        """The frames the stage must answer for."""
        return self.frames[self.before : self.before + self.core]


@dataclass(frozen=True)
class Output:
    """Rows a stage made, by table, each with that table's key columns; and the carried state."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    state: pa.Table | None = None


@dataclass(frozen=True)
class Request:
    """What the user asked for, as far as stages care. Part of every artifact's key by use.

    A stage names in `options` the fields it uses, so that a changed field re-runs only its users.
    """

    concepts: tuple[str, ...] = ()
    context: str = ""
    state: StateFile | None = None  # a log to match to the frames
    camera: str = ""  # JSON of what the user knows of the camera: `stpe.geometry.supplied`
    depth_images: str = ""  # the same JSON's part on depth images, alone
    pooling: ModuleFile | None = None  # trained weights in place of parameter-free pooling


class Stage(ABC):
    """One step: declares what it reads and writes; `process` does it.

    Class attributes:
        name, version: identity; bump `version` whenever the output can change.
        reads: signals it must have. If one is absent, so is this stage, with that reason.
        optional: signals it uses if they are there.
        writes: signals it fills. If it creates rows of a table, it is the first stage that writes
            that table's non-key columns; later ones fill columns of the same rows.
        roles: model roles it must have. optional_roles: used if there.
        options: fields of Request it uses.
        needs: those without which it is not asked for.
        scope: "chunk" or "video".
        grid: sampling grid it looks at; None for rows only (then `length` is None).
        length: core frames a window; None for the whole chunk.
        margin: context frames (before, after) on its grid.
        margin_s: every frame within so many seconds of the core is context too.
        ordered: windows in time order, one at a time, with carried state.
        named: what the video and the state log are called is part of what it answers.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ()
    roles: ClassVar[tuple[str, ...]] = ()
    optional_roles: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    scope: ClassVar[Literal["chunk", "video"]] = "chunk"
    grid: ClassVar[Grid | None] = None
    length: ClassVar[int | None] = 1
    margin: ClassVar[tuple[int, int]] = (0, 0)
    margin_s: ClassVar[float] = 0.0
    ordered: ClassVar[bool] = False
    named: ClassVar[bool] = False

    @classmethod
    def grid_for(cls, models: Mapping[str, Model]) -> Grid | None:
        """`grid`; where the stage's model says what it is to be shown, that, by the same name."""
        return cls.grid

    def __init__(self, models: Mapping[str, Any], request: Request) -> None:
        """`models` maps role name to a loaded backend for `roles` and available optional ones."""
        self.models = models
        self.request = request

    @abstractmethod
    def process(self, window: Window) -> Output:
        """Answer for the window's core. Must be deterministic and free of hidden state."""
