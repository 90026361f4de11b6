"""What is true about a video: one schema for simulators and labelled clips.

Every part is optional; None means nobody said, which is not the same as "there is none" (an empty
tuple). Frames are numbered as the decoder numbers them, from 0, whatever the files count from.
Pixels are pixels of the stored frame, continuous (column i covers i to i + 1). Poses are
camera-to-world 4x4 in the OpenCV camera frame. Lengths are metres where `metric`, else in an
unknown scale of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpe.errors import TruthError
from stpe.evaluate.shots import Transition
from stpe.geometry.intrinsics import Intrinsics

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
MaskHW = NDArray[np.bool_]

#: (depth_HW along the optical axis, where it is known) of a frame; None without depth there.
DepthReader = Callable[[int], tuple[F32, MaskHW] | None]
#: (flow_N2 in px, where it is known) from the first frame to the second of points_N2 of the first;
#: None without truth about that pair.
FlowReader = Callable[[int, int, F64], tuple[F32, NDArray[np.bool_]] | None]


def pixel_centres(width: int, height: int) -> F64:
    """N x 2 centres of all pixels, row by row: the points of a dense field."""
    x_HW, y_HW = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x_HW.ravel(), y_HW.ravel()], axis=-1)


@dataclass(frozen=True, slots=True)
class TruthFrame:
    """One frame.

    Attributes:
        pts: seconds; None where the labels have no times.
        camera_to_world_44: None where the camera is not known.
        intrinsics: None where not known.
        state: what else was recorded (inputs, health, joints, ...), as the file names it.
        segment: counts up where the camera jumps: there is no camera path across.
    """

    pts: float | None = None
    camera_to_world_44: F64 | None = None
    intrinsics: Intrinsics | None = None
    state: Mapping[str, Any] | None = None
    segment: int = 0


@dataclass(frozen=True, slots=True)
class TruthObject:
    """One object in one frame.

    Attributes:
        identity: the same over the whole video, never reused.
        label: its class, as the labels name it.
        box_xyxy: visible extent, px.
        mask_rle: visible pixels, COCO compressed RLE; None where only a box is known.
        position, velocity: of its centre in the world, metres and m/s (see `metric`).
        moving: whether it moves in the world; None where not known.
        ignored: a detection of it counts neither as right nor as wrong.
    """

    identity: int
    label: str
    box_xyxy: tuple[float, float, float, float]
    mask_rle: Mapping[str, Any] | None = None
    position: tuple[float, float, float] | None = None
    velocity: tuple[float, float, float] | None = None
    moving: bool | None = None
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """Something that happened: its kind as `events.kind` names it, frame, and who took part."""

    kind: str
    frame_index: int
    identities: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Contact:
    """Two objects touching in a frame; `force_n` in newtons, None where not known."""

    frame_index: int
    identities: tuple[int, int]
    force_n: float | None = None


@dataclass(frozen=True)
class Truth:
    """Everything that is known to be true of one video.

    Attributes:
        kind: what the labels were read from, such as `simulator` or `mot`. path: where.
        width, height, frame_count: of the video the labels belong to, where they say.
        frames: frame index to what is known of it.
        objects: frame index to the objects in it; a labelled frame without objects has ().
        labelled: class names of which every instance is labelled; None for all there is, empty
            where the labels pick out some objects only, so that nothing else found is wrong.
        instances: whether `objects` are single instances; False for one foreground mask.
        depth, flow: readers, called for one frame or pair at a time.
        transitions: changes of shot. events, contacts: in time order.
        metric: whether lengths are metres.
        log_units_per_metre: length of a metre in the unit of the state log that came with the
            video; None without a log, or where not known.
        log_lag_ms: the true lag of the state log that came with the video.
        read_as: what the labels were taken for, a sentence each.
    """

    kind: str
    path: Path
    width: int | None = None
    height: int | None = None
    frame_count: int | None = None
    frames: Mapping[int, TruthFrame] = field(default_factory=dict)
    objects: Mapping[int, tuple[TruthObject, ...]] | None = None
    labelled: frozenset[str] | None = None
    instances: bool = True
    depth: DepthReader | None = None
    flow: FlowReader | None = None
    transitions: tuple[Transition, ...] | None = None
    events: tuple[TruthEvent, ...] | None = None
    contacts: tuple[Contact, ...] | None = None
    metric: bool = False
    log_units_per_metre: float | None = None
    log_lag_ms: float | None = None
    read_as: tuple[str, ...] = ()

    def parts(self) -> tuple[str, ...]:
        """Names of the parts that are there."""
        cameras = [f for f in self.frames.values() if f.camera_to_world_44 is not None]
        there = {
            "camera": bool(cameras),
            "objects": self.objects is not None,
            "depth": self.depth is not None,
            "flow": self.flow is not None,
            "transitions": self.transitions is not None,
            "events": self.events is not None,
            "contacts": self.contacts is not None,
            "state": any(f.state for f in self.frames.values()),
            "alignment": self.log_lag_ms is not None,
        }
        return tuple(name for name, is_there in there.items() if is_there)

    def camera_step(self, first: int, second: int) -> F64 | None:
        """Pose of the camera at `second` in its own frame at `first`, 4x4; None if unknown."""
        a, b = self.frames.get(first), self.frames.get(second)
        if a is None or b is None or a.segment != b.segment:
            return None
        if a.camera_to_world_44 is None or b.camera_to_world_44 is None:
            return None
        return np.asarray(np.linalg.inv(a.camera_to_world_44) @ b.camera_to_world_44)

    def check(self, width: int, height: int, frame_count: int) -> None:
        """Raise TruthError where this cannot be the truth of a video of this size and length."""
        if None not in (self.width, self.height) and (self.width, self.height) != (width, height):
            raise TruthError(
                f"{self.path} is about {self.width}x{self.height} pictures and the video has "
                f"{width}x{height}: this is the truth of another video"
            )
        last = max((*self.frames, *(self.objects or {})), default=-1)
        if self.frame_count is not None and self.frame_count != frame_count:
            raise TruthError(
                f"{self.path} is about {self.frame_count} frames and the video has {frame_count}: "
                "this is the truth of another video"
            )
        if last >= frame_count:
            raise TruthError(
                f"{self.path} labels frame {last} (from 0) and the video has {frame_count}: this "
                "is the truth of another video"
            )
