"""Identities over the whole video, and what each of them did.

Tracklets are cut where they met others and joined anew over the whole video (`stpe.tracking.link`).
What results is a track if, seen as a whole, it is believable: more than one observation, and scores
that in their better half reach what a good detection has; or, where frames are so far apart that
things come and go between them, one observation beyond doubt. An observation that is not where
those before and after it have the track be is left out. Only the whole video can tell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe.signals import schema
from stpe.stages.motion_rows import matrix_at
from stpe.stages.stage import Output, Stage, Window
from stpe.stages.tracklets import centred, scores_of, vectors_of
from stpe.tracking.link import linked
from stpe.tracking.motion import camera_step
from stpe.tracking.observed import Observed
from stpe.tracking.path import strays

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

BELIEVABLE = 0.75  # mean score of the better half of a track's observations
#: Seconds between frames from which a thing may be seen only once, and the score it then needs.
SPARSE_S, ALONE = 0.25, 0.8
_OBJECTS = ("track_id", "track_confidence")
_TRACKS = (
    "label",
    "confidence",
    "first_pts",
    "last_pts",
    "first_frame",
    "last_frame",
    "n_frames",
    "embedding",
    "motion_summary",
    "direction",
    "mean_speed_px_s",
    "moving_share",
)
NAMED = 0.5  # support from which a track has a name: it is likelier than not
UNNAMED = "object"
#: Object sides (roots of area) a second up to which a moving track is slow, and moderate.
SLOW, MODERATE = 0.5, 2.0
_STILL_SHARE = 0.2  # a track that moves in fewer of its observations is static
#: A box ends at a border within this share of the longer side of the frame.
_AT_BORDER = 0.01
_MOSTLY = 0.8  # of its observations
#: Own sides that a thing fixed to the camera may stray, and that the scene sweeps past meanwhile.
_STRAYS, _SWEPT = 0.5, 2.0
_DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")


class Tracks(Stage):
    """`objects.track_id`, consecutive from 1 in order of first appearance, and the `tracks`."""

    name = "tracks"
    version = "4"
    scope = "video"
    reads = (
        "objects.pts",
        "objects.label",
        "objects.confidence",
        "objects.box_xyxy",
        "objects.area_px",
        "objects.tracklet_id",
        "objects.tracklet_confidence",
    )
    optional = (
        "objects.camera_velocity_px_s",
        "objects.origin",
        "objects.mask_confidence",
        "objects.embedding",
        "objects.motion",
        "objects.object_velocity_px_s",
        "objects.colors",
        "frames.shot_id",
        "motion.camera_homography",
    )
    writes = (*(f"objects.{c}" for c in _OBJECTS), *(f"tracks.{c}" for c in _TRACKS))
    length = None

    def process(self, window: Window) -> Output:
        """Find, judge and describe every track."""
        size = (window.source.width, window.source.height)
        objects = window.rows["objects"]
        score = scores_of(objects)
        groups = _groups(window, score)
        sparse = _interval_s(window) >= SPARSE_S
        believed = [group for group in groups if believable(score[group], sparse)]
        believed.sort(key=lambda group: int(group[0]))
        ids = np.zeros(len(objects), np.int64)
        rows: list[dict[str, Any]] = []
        for number, group in enumerate(believed, start=1):
            ids[group] = number
            seen = objects.take(group)
            row = {"track_id": number, **_describe(seen, score[group])}
            rows.append(row if attached(seen, size) else row | _motion(seen))
        none = ids == 0
        trust = objects["tracklet_confidence"].to_numpy()
        unknown = none | np.isnan(trust)
        table = objects.select(["frame_index", "object_id"])
        table = table.append_column("track_id", pa.array(ids, pa.int64(), mask=none))
        table = table.append_column("track_confidence", pa.array(trust, pa.float32(), mask=unknown))
        return Output(
            {
                "objects": table.cast(schema("objects", _OBJECTS)),
                "tracks": pa.Table.from_pylist(rows, schema=schema("tracks", _TRACKS)),
            }
        )


def _groups(window: Window, score: F64) -> list[I64]:
    """Rows of each thing, in order of time."""
    seen = window.rows["objects"]
    if not len(seen):
        return []
    boxes, pts = centred(seen["box_xyxy"]), seen["pts"].to_numpy().astype(np.float64)
    frame = seen["frame_index"].to_numpy()
    present = [name for name in ("embedding", "colors") if name in seen.column_names]
    looks = [vectors_of(seen[name]) for name in present]
    observed = Observed(
        pts,
        frame,
        boxes,
        seen["tracklet_id"].fill_null(0).to_numpy(),
        _shots(window, frame),
        score,
        [look for look in looks if look is not None],
        _camera_path(window, frame),
        (window.source.width, window.source.height),
    )
    number = linked(observed)
    steady = boxes - np.pad(observed.camera_N2, ((0, 0), (0, 2)))
    groups = []
    for rows in (np.flatnonzero(number == n) for n in range(int(number.max()) + 1)):
        astray = strays(pts[rows], steady[rows], score[rows])
        groups.append(rows[~astray])
    return groups


def _interval_s(window: Window) -> float:
    """Usual time between frames; infinite where there is one."""
    pts = window.rows.get("frames", window.rows["objects"])["pts"].to_numpy()
    steps = np.diff(np.unique(pts))
    return float(np.median(steps)) if len(steps) else float("inf")


def _shots(window: Window, frame_N: I64) -> I64:
    frames = window.rows.get("frames")
    if frames is None or "shot_id" not in frames.column_names:
        return np.zeros(len(frame_N), np.int64)
    shots = frames["shot_id"].fill_null(-1).to_numpy().astype(np.int64)
    place = np.searchsorted(frames["frame_index"].to_numpy(), frame_N, "right") - 1
    return np.asarray(shots[np.maximum(place, 0)])


def _camera_path(window: Window, frame_N: I64) -> F64:
    """How far the camera alone has carried the picture's middle by each frame."""
    motion = window.rows.get("motion")
    if motion is None or not len(motion) or "camera_homography" not in motion.column_names:
        return np.zeros((len(frame_N), 2))
    width, height = window.source.width, window.source.height
    middle = np.array([width / 2, height / 2, width, height])
    steps = [
        camera_step(matrix_at(motion, "camera_homography", row), middle)[0]
        for row in range(len(motion))
    ]
    path = np.cumsum(np.concatenate([np.zeros((1, 2)), steps]), axis=0)
    return np.asarray(path[np.searchsorted(motion["frame_index"].to_numpy(), frame_N, "right")])


def believable(score_N: F64, sparse: bool) -> bool:
    """Whether observations with these scores make a track; `sparse`: frames are far apart."""
    if len(score_N) == 1:
        return sparse and float(score_N[0]) >= ALONE
    better = np.sort(score_N)[::-1][: (len(score_N) + 1) // 2]
    return float(better.mean()) >= BELIEVABLE


def named(seen: pa.Table, score_N: F64) -> tuple[str, float]:
    """What a track is, and the support for that, 0..1.

    Support for a name is what the detector's scores for it come to over all observations: those
    where it said something else, or nothing, count as none. A name with little support, or with
    no majority among the names given, is no better than `object`, which all observations support.
    """
    votes: dict[str, float] = {}
    for name, confidence in zip(
        seen["label"].to_pylist(), seen["confidence"].to_pylist(), strict=True
    ):
        if name != UNNAMED:
            votes[name] = votes.get(name, 0.0) + confidence / len(seen)
    if votes:
        best = max(votes, key=lambda name: votes[name])
        if votes[best] >= max(NAMED, sum(votes.values()) / 2):
            return best, votes[best]
    return UNNAMED, float(score_N.mean())


def _describe(seen: pa.Table, score: F64) -> dict[str, Any]:
    label, support = named(seen, score)
    known = seen["tracklet_confidence"].drop_null().to_numpy()
    trust = float(known.mean()) if len(known) else 0.0
    return {
        "label": label,
        "confidence": support * np.sqrt(trust),
        "first_pts": seen["pts"][0].as_py(),
        "last_pts": seen["pts"][-1].as_py(),
        "first_frame": seen["frame_index"][0].as_py(),
        "last_frame": seen["frame_index"][-1].as_py(),
        "n_frames": len(seen),
        "embedding": _mean_embedding(seen, score),
    }


def attached(seen: pa.Table, size: tuple[int, int]) -> bool:
    """Whether a thing goes with the camera: the picture's border cuts it nearly always and at the
    same place, as it does a weapon in hand, a handlebar or a bonnet, although the camera carries
    everything else past.
    """
    if not {"box_xyxy", "camera_velocity_px_s"} <= set(seen.column_names) or len(seen) < 3:
        return False
    box = np.array(seen["box_xyxy"].to_pylist(), np.float64)
    carried = [v for v in seen["camera_velocity_px_s"].to_pylist() if v is not None]
    if not carried:
        return False
    middle, sides = (box[:, :2] + box[:, 2:]) / 2, np.median(box[:, 2:] - box[:, :2], axis=0)
    gap = np.stack([box[:, 0], box[:, 1], size[0] - box[:, 2], size[1] - box[:, 3]], axis=1)
    cut = (gap < _AT_BORDER * max(size)).mean(axis=0) > _MOSTLY
    if cut.sum() != 1:  # what fills several borders is a scene, not a thing
        return False
    along = 1 - int(np.flatnonzero(cut)[0]) % 2  # the axis of the border that cuts it
    strays = float(np.median(np.abs(middle[:, along] - np.median(middle[:, along]))))
    seconds = float(seen["pts"][-1].as_py() - seen["pts"][0].as_py())
    swept = float(np.mean([np.hypot(*v) for v in carried])) * seconds
    return bool(strays < _STRAYS * sides[along] and swept > _SWEPT * max(sides))


def _mean_embedding(seen: pa.Table, score: F64) -> F64 | None:
    if "embedding" not in seen.column_names:
        return None
    total: F64 | None = None
    for value, weight in zip(seen["embedding"], score, strict=True):
        if value.is_valid:
            part = weight * value.values.to_numpy(zero_copy_only=False).astype(np.float64)
            total = part if total is None else total + part
    return None if total is None else total / max(float(np.linalg.norm(total)), 1e-12)


def _motion(seen: pa.Table) -> dict[str, Any]:
    """Speed, direction and share of motion, from observations whose motion is known."""
    if not {"motion", "object_velocity_px_s"} <= set(seen.column_names):
        return {}
    states = seen["motion"].to_pylist()
    known = [i for i, s in enumerate(states) if s in ("moving", "static")]
    velocities = seen["object_velocity_px_s"].to_pylist()
    measured = [i for i in known if velocities[i] is not None]
    if not measured:
        return {}
    velocity = np.array([velocities[i] for i in measured], np.float64)
    moving = np.array([states[i] == "moving" for i in measured])
    share = float(np.mean([states[i] == "moving" for i in known]))
    speed = np.where(moving, np.linalg.norm(velocity, axis=1), 0.0)
    row: dict[str, Any] = {"mean_speed_px_s": float(speed.mean()), "moving_share": share}
    if share < _STILL_SHARE:
        return row | {"motion_summary": "static", "direction": None}
    side = np.sqrt(np.maximum(seen["area_px"].to_numpy()[measured], 1.0))
    pace = float(np.median((speed / side)[moving])) if moving.any() else 0.0
    summary = "slow" if pace < SLOW else "moderate" if pace < MODERATE else "fast"
    mean = velocity[moving].mean(axis=0) if moving.any() else velocity.mean(axis=0)
    sector = round(float(np.arctan2(mean[1], mean[0])) / (np.pi / 4)) % 8
    return row | {"motion_summary": summary, "direction": _DIRECTIONS[sector]}
