"""Camera motion from one analysis frame to the next, composed from the motion intervals between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.geometry.homography import transform
from stpe.geometry.intrinsics import Intrinsics, intrinsics
from stpe.geometry.rotation import matrix_of, vector_of
from stpe.signals import schema
from stpe.stages.motion_rows import matrix_at, vector_at
from stpe.stages.stage import Output, Stage, Window

F64 = NDArray[np.float64]

_COLUMNS = (
    "camera_motion",
    "camera_rotation_deg",
    "camera_translation",
    "camera_homography",
    "camera_confidence",
)
#: The frame may shift by this share of its diagonal a second and still count as held still, up to
#: what that comes to in STATIC_S.
STATIC_RATE = 0.01
STATIC_S = 0.5
#: And by this share over any interval: what flow cannot resolve.
STATIC_SHIFT = 0.0004
#: A motion names the label if it makes up this share of the squared displacement.
DOMINANT = 0.6
#: Share of intervals that must show a translation for the composed motion to have one.
_TRANSLATING = 0.5


@dataclass
class Composed:
    """Motion from one frame up to a later one. `rotation` turns earlier rays into later ones."""

    homography: F64 = field(default_factory=lambda: np.eye(3))
    rotation: F64 = field(default_factory=lambda: np.eye(3))
    travel: F64 = field(default_factory=lambda: np.zeros(3))
    travelled_s: float = 0.0
    trust_s: float = 0.0
    seconds: float = 0.0
    known: bool = True

    def extend(self, motion: pa.Table, row: int) -> None:
        """Append one `motion` row."""
        seconds = float(motion["interval_s"][row].as_py() or 0.0)
        homography = matrix_at(motion, "camera_homography", row)
        turn = vector_at(motion, "camera_rotation_deg", row)
        move = vector_at(motion, "camera_translation", row)
        self.seconds += seconds
        if homography is None or turn is None:
            self.known = False
            return
        if move is not None:
            # Directions carry no length: the camera is taken to keep its speed in between.
            self.travel = self.travel + self.rotation.T @ move * seconds
            self.travelled_s += seconds
        self.homography = homography @ self.homography
        self.rotation = matrix_of(np.radians(turn)).T @ self.rotation
        self.trust_s += seconds * float(motion["camera_confidence"][row].as_py())

    def table(self) -> pa.Table:
        """As a carried state."""
        numbers = [
            *self.homography.ravel(), *self.rotation.ravel(), *self.travel, self.travelled_s,
            self.trust_s, self.seconds, float(self.known),
        ]  # fmt: skip
        return pa.table({"composed": pa.array(numbers, pa.float64())})

    @classmethod
    def of(cls, table: pa.Table) -> Composed:
        """From a carried state."""
        n = table["composed"].to_numpy()[: 9 + 9 + 3 + 4]
        return cls(
            n[:9].reshape(3, 3), n[9:18].reshape(3, 3), n[18:21], n[21], n[22], n[23], n[24] > 0.5
        )


class FrameCamera(Stage):
    """Composed homography, rotation and translation of each analysis frame, and their name.

    The state carries what has been composed since the last analysis frame, and its shot.
    """

    name = "frame_camera"
    version = "2"
    reads = (
        "frames.frame_index",
        "motion.interval_s",
        "motion.camera_homography",
        "motion.camera_rotation_deg",
        "motion.camera_translation",
        "motion.camera_confidence",
    )
    optional = ("frames.shot_id",)
    writes = tuple(f"frames.{column}" for column in _COLUMNS)
    options = ("camera",)
    length = None
    ordered = True

    def process(self, window: Window) -> Output:
        """Compose for every analysis frame of the chunk."""
        size = (window.source.width, window.source.height)
        camera = intrinsics(self.request.camera, *size)
        frames, motion = window.rows["frames"], window.rows["motion"]
        shots = frames["shot_id"].to_pylist() if "shot_id" in frames.column_names else None
        ends = motion["frame_index"].to_pylist()
        carried = window.state
        first = carried is None
        composed = Composed() if carried is None else Composed.of(carried)
        shot = None if carried is None else carried["shot"][0].as_py()
        rows: list[dict[str, Any]] = []
        at = 0
        for number, key in enumerate(frames.select(["frame_index", "pts"]).to_pylist()):
            while at < len(ends) and ends[at] <= key["frame_index"]:
                composed.extend(motion, at)
                at += 1
            now = None if shots is None else shots[number]
            cut = not first and now != shot
            row = dict.fromkeys(_COLUMNS) if first or cut else describe(composed, camera, size)
            if cut:
                row["camera_motion"] = "cut"
            rows.append({**key, **row})
            composed, first, shot = Composed(), False, now
        while at < len(ends):
            composed.extend(motion, at)
            at += 1
        table = pa.Table.from_pylist(rows, schema=schema("frames", _COLUMNS))
        if first:
            return Output({"frames": table}, None)
        state = composed.table()
        state = state.append_column("shot", pa.array([shot] * len(state), pa.int32()))
        return Output({"frames": table}, state)


def describe(composed: Composed, camera: Intrinsics, size: tuple[int, int]) -> dict[str, Any]:
    """The columns of one frame; null where any interval in between could not be measured."""
    if not composed.known or composed.seconds <= 0:
        return dict.fromkeys(_COLUMNS)
    length = float(np.linalg.norm(composed.travel))
    moved = composed.travelled_s > _TRANSLATING * composed.seconds and length > 1e-9
    matrix = composed.homography / composed.homography[2, 2]
    return {
        "camera_motion": label(composed, moved, camera, size),
        "camera_rotation_deg": np.degrees(vector_of(composed.rotation.T)).tolist(),
        "camera_translation": (composed.travel / length).tolist() if moved else None,
        "camera_homography": matrix.ravel().tolist(),
        "camera_confidence": composed.trust_s / composed.seconds,
    }


def label(composed: Composed, moved: bool, camera: Intrinsics, size: tuple[int, int]) -> str | None:
    """The name of the motion whose displacement, root mean square over the frame, dominates."""
    x, y = (np.linspace(0.1, 0.9, 5) * side for side in size)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    shift = transform(composed.homography, points) - points
    if not np.isfinite(shift).all():
        return None
    diagonal = float(np.hypot(*size))
    still = max(STATIC_RATE * min(composed.seconds, STATIC_S), STATIC_SHIFT) * diagonal
    if _rms(shift) < still:
        return "static"
    tilt, pan, roll = vector_of(composed.rotation.T)
    k = camera.matrix
    turned = transform(k @ composed.rotation @ np.linalg.inv(k), points) - points
    rest = shift - turned
    middle = points - [camera.cx, camera.cy]
    spread = _rms(middle)
    zoom = float((rest * middle).sum() / (middle**2).sum())
    named = {
        "pan_right" if pan > 0 else "pan_left": abs(pan) * camera.fx,
        "tilt_up" if tilt > 0 else "tilt_down": abs(tilt) * camera.fy,
        "roll_cw" if roll > 0 else "roll_ccw": abs(roll) * spread,
    }
    if moved:
        named["translate"] = _rms(rest)
    else:
        named["zoom_in" if zoom > 0 else "zoom_out"] = abs(zoom) * spread
    best = max(named, key=lambda name: named[name])
    total = sum(value**2 for value in named.values())
    return best if named[best] ** 2 >= DOMINANT * total else "mixed"


def _rms(vectors_N2: F64) -> float:
    return float(np.sqrt((vectors_N2**2).sum(axis=1).mean()))
