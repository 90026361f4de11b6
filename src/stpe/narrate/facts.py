"""What the narrator knows of a frame: plain values read from the tables, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stpe.narrate.state import GameState

#: The key of one row: `table` and that table's key columns.
Row = Mapping[str, Any]
UNNAMED = "object"


@dataclass(frozen=True)
class Thing:
    """One object of a frame.

    Attributes:
        object_id, track_id: its row and identity.
        label: class name; `object` for a class-agnostic instance.
        confidence: trust in the label, from the track where there is one.
        box: xyxy pixels. share: part of the frame its area fills.
        motion: moving, static, unknown or None; with its confidence.
        velocity: camera-compensated [vx, vy] px/s; with its standard deviation.
    """

    object_id: int
    track_id: int | None
    label: str
    confidence: float
    box: Sequence[float]
    share: float
    motion: str | None = None
    motion_confidence: float | None = None
    velocity: Sequence[float] | None = None
    velocity_std: float | None = None

    @property
    def named(self) -> bool:
        """Whether it has a class."""
        return self.label != UNNAMED

    @property
    def moving(self) -> bool:
        """Whether it moves by itself, as far as is known."""
        return self.motion == "moving" and self.velocity is not None

    @property
    def salience(self) -> tuple[bool, bool, float, int]:
        """Sorting key, most worth telling first."""
        weight = -self.share * (0.5 + self.confidence)
        return (not self.named, not self.moving, weight, self.object_id)


@dataclass(frozen=True)
class FrameFacts:
    """One frame.

    Attributes:
        things: objects, most worth telling first; None where no stage looked for objects.
        camera, camera_confidence, camera_rotation_deg: motion since the previous frame.
        relations: rows of `relations`. events: rows of `events` first seen in this frame; None
            where no stage looked for events.
        clip: row of `clips` around this time. state, alignment: the game's record; `before`: that
            of the previous frame, None where that is of another episode or unknown.
        shot: row of `shots` that this frame is in. since_s: seconds since the previous frame of
            the same shot; None for the shot's first. step_s: since the previous frame of any.
        context: what the user said of the video.
    """

    frame_index: int
    pts: float
    size: tuple[int, int]
    things: Sequence[Thing] | None = None
    camera: str | None = None
    camera_confidence: float | None = None
    camera_rotation_deg: Sequence[float] | None = None
    relations: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] | None = None
    clip: Mapping[str, Any] | None = None
    state: GameState | None = None
    alignment: str | None = None
    shot: Mapping[str, Any] | None = None
    since_s: float | None = None
    context: str = ""
    before: GameState | None = None
    step_s: float | None = None

    @property
    def row(self) -> Row:
        """Key of this frame's row."""
        return {"table": "frames", "frame_index": self.frame_index}

    def object_row(self, thing: Thing) -> Row:
        """Key of an object's row."""
        return {
            "table": "objects",
            "frame_index": self.frame_index,
            "object_id": thing.object_id,
        }


@dataclass(frozen=True)
class Claim:
    """One checkable statement of a clause, without words. See `stpe.narrate.claims`.

    Attributes:
        kind: one of `stpe.narrate.claims.KINDS`.
        subject: whom it is about: a label, a name, a key.
        value, unit: what is stated of it.
        row: key of the row it was read from, where it is one row's.
    """

    kind: str
    subject: str
    value: str | float
    unit: str = ""
    row: Row | None = None


@dataclass(frozen=True)
class Clause:
    """A statement without capital letter and full stop, its rows, and what it claims."""

    text: str
    rows: Sequence[Row] = field(default_factory=tuple)
    claims: Sequence[Claim] = ()
