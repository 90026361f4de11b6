"""Online association of boxes, in rounds from the surest to the least sure.

First sure detections with tracks by overlap, appearance and score (fused as in BoT-SORT, Aharon et
al. 2022); then what is left of both by distance in units of the filter's own uncertainty, which
grows while a track is unseen; then unsure detections with tracks that were just seen (ByteTrack,
Zhang et al. 2022); then sure detections with tracks seen only once; last, what looks alike and has
no rival, wherever it could have gone meanwhile. Between frames a track follows the flow inside it,
relative to the camera; while unseen, the camera alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import lap
import numpy as np
from numpy.typing import NDArray

from stpe.geometry.field import FlowField
from stpe.tracking.kalman import BoxFilter, roamed_4
from stpe.tracking.motion import box_flow, camera_step

F64 = NDArray[np.float64]

SURE = 0.6  # score from which a detection can prolong any track (as in ByteTrack)
BEGIN = 0.7  # and from which it can begin one
LOST_S = 2.0  # seconds a track is looked for
_LEAST_SIMILAR = {"overlap": 0.1, "distance": 0.1, "unsure": 0.5, "once": 0.3, "alone": 0.5}
#: Similarity falls by e to this times the cosine distance; where place says little, faster.
_APPEARANCE = (2.0, 6.0)
_DISTANCE = 0.1  # and for every ten units of squared Mahalanobis distance
_RELABELLED = 0.8  # a detector often has two names for one object
_CHANCE = 0.1  # similarity that something new reaches by chance
_MEMORY = 0.9  # of appearance, an observation


@dataclass
class Boxes:
    """Detections of a frame: boxes (cx, cy, w, h), scores 0..1, names (None: unnamed), unit
    embeddings or none."""

    boxes_N4: F64
    scores_N: F64
    labels: Sequence[str | None]
    embeddings_ND: F64 | None = None

    def __len__(self) -> int:
        return len(self.scores_N)


@dataclass
class Track:
    """A live or lost track.

    Attributes:
        id: its number.
        filter: where it is. box_4: where it was last seen.
        label: its last class name; None as long as it had none.
        embedding_D: running appearance; None where none was given.
        seen_s: time of the last observation.
        hits: observations.
        missed: whether the last frame had no observation.
        shift_2: flow inside it since the last frame; None once unknown.
        camera_2: what the camera did to its centre since then; camera_scale to its size.
    """

    id: int
    filter: BoxFilter
    box_4: F64
    label: str | None
    embedding_D: F64 | None
    seen_s: float
    hits: int = 1
    missed: bool = False
    shift_2: F64 | None = field(default_factory=lambda: np.zeros(2))
    camera_2: F64 = field(default_factory=lambda: np.zeros(2))
    camera_scale: float = 1.0

    def carry(self, flow: FlowField | None, homography: F64 | None) -> None:
        """Follow one motion interval."""
        box = self.filter.box_4
        at_camera = np.concatenate([box[:2] + self.camera_2, box[2:]])
        shift, scale = camera_step(homography, at_camera)
        self.camera_2 = self.camera_2 + shift
        self.camera_scale = float(np.clip(self.camera_scale * scale, 0.5, 2.0))
        if self.shift_2 is None or self.missed:
            return
        at_flow = np.concatenate([box[:2] + self.shift_2, box[2:]])
        inside = None if flow is None else box_flow(flow, at_flow)
        self.shift_2 = None if inside is None else self.shift_2 + inside

    def predict(self, seconds: float) -> None:
        """Move the filter to the present frame."""
        if self.shift_2 is not None and not self.missed and seconds > 0:
            self.filter.observe_velocity((self.shift_2 - self.camera_2) / seconds)
        self.filter.predict(seconds, self.camera_2, self.camera_scale)
        self.shift_2, self.camera_2, self.camera_scale = np.zeros(2), np.zeros(2), 1.0


@dataclass
class Tracker:
    """Tracks in order of their birth; `next_id` is never given twice; `now_s` the last frame."""

    tracks: list[Track] = field(default_factory=list)
    next_id: int = 1
    now_s: float | None = None

    def carry(self, flow: FlowField | None, homography: F64 | None) -> None:
        """Follow one motion interval, before the frame it leads to."""
        for track in self.tracks:
            track.carry(flow, homography)

    def cut(self) -> None:
        """A new shot begins: nothing continues."""
        self.tracks = []

    def step(self, pts: float, boxes: Boxes) -> tuple[NDArray[np.int64], F64]:
        """Track id of each box (zero where it belongs to none) and trust in it, 0..1."""
        seconds = 0.0 if self.now_s is None else pts - self.now_s
        self.now_s = pts
        for track in self.tracks:
            track.predict(seconds)
        ids, trust = np.zeros(len(boxes), np.int64), np.zeros(len(boxes))
        free = set(range(len(boxes)))
        matched: set[int] = set()

        def match(kind: str, tracks: list[Track], candidates: list[int]) -> None:
            similar = _similarity(kind, tracks, boxes, candidates, pts)
            for row, column in assign(similar, _LEAST_SIMILAR[kind]):
                track, box = tracks[row], candidates[column]
                _observe(track, boxes, box, pts)
                ids[box], trust[box] = track.id, similar[row, column]
                free.discard(box)
                matched.add(track.id)

        def left(tracks: list[Track]) -> list[Track]:
            return [track for track in tracks if track.id not in matched]

        def sure() -> list[int]:
            return [i for i in sorted(free) if boxes.scores_N[i] >= SURE]

        proven = [track for track in self.tracks if track.hits > 1]
        once = [track for track in self.tracks if track.hits == 1]
        match("overlap", proven, sure())
        match("distance", left(proven), sure())
        seen = [track for track in left(proven) if not track.missed]
        match("unsure", seen, [i for i in sorted(free) if boxes.scores_N[i] < SURE])
        match("once", once, sure())
        match("alone", [t for t in left(self.tracks) if not t.missed], sure())
        for track in left(self.tracks):
            track.missed = True
        self.tracks = [t for t in self.tracks if not t.missed or _looked_for(t, pts)]
        for box in sure():
            if boxes.scores_N[box] >= BEGIN:
                self.tracks.append(self._begin(boxes, box, pts))
                ids[box], trust[box] = self.tracks[-1].id, boxes.scores_N[box]
        return ids, trust

    def _begin(self, boxes: Boxes, box: int, pts: float) -> Track:
        embedding = None if boxes.embeddings_ND is None else boxes.embeddings_ND[box]
        start = BoxFilter.start(boxes.boxes_N4[box])
        self.next_id += 1
        corner = boxes.boxes_N4[box]
        return Track(self.next_id - 1, start, corner, boxes.labels[box], embedding, pts)


def assign(similar: F64, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of largest total similarity, each at least `least`."""
    if 0 in similar.shape:
        return []
    cost = np.ascontiguousarray(1.0 - similar)
    _, columns, _ = lap.lapjv(cost, extend_cost=True, cost_limit=1.0 - least)
    return [(row, int(column)) for row, column in enumerate(columns) if column >= 0]


def overlap(a_N4: F64, b_M4: F64) -> F64:
    """NxM intersection over union of boxes (cx, cy, w, h)."""
    half_a, half_b = a_N4[:, None, 2:] / 2, b_M4[None, :, 2:] / 2
    a, b = a_N4[:, None, :2], b_M4[None, :, :2]
    shared = np.minimum(a + half_a, b + half_b) - np.maximum(a - half_a, b - half_b)
    inner = np.clip(shared, 0, None).prod(axis=2)
    union = a_N4[:, None, 2:].prod(axis=2) + b_M4[None, :, 2:].prod(axis=2) - inner
    return np.asarray(inner / np.maximum(union, 1e-9))


def _similarity(
    kind: str, tracks: list[Track], boxes: Boxes, candidates: list[int], pts: float
) -> F64:
    if not tracks or not candidates:
        return np.zeros((len(tracks), len(candidates)))
    found = boxes.boxes_N4[candidates]
    expected = np.stack([track.filter.box_4 for track in tracks])
    if kind in ("distance", "alone"):
        similar = _near(expected, np.stack([t.filter.innovation_4 for t in tracks]), found)
    else:
        similar = overlap(expected, found)
    if kind == "alone":
        # Things turn around, and whoever films them keeps them where they are in the picture.
        spread = np.stack([roamed_4(t.box_4, pts - t.seen_s) for t in tracks])
        similar = np.maximum(similar, _near(np.stack([t.box_4 for t in tracks]), spread, found))
    for row, track in enumerate(tracks):
        if boxes.embeddings_ND is not None and track.embedding_D is not None:
            cosine = np.nan_to_num(boxes.embeddings_ND[candidates] @ track.embedding_D, nan=1.0)
            similar[row] *= np.exp(-_APPEARANCE[kind == "alone"] * (1 - cosine))
        renamed = [
            None not in (boxes.labels[i], track.label) and boxes.labels[i] != track.label
            for i in candidates
        ]
        similar[row] *= np.where(renamed, _RELABELLED, 1.0)
    if kind != "unsure":
        similar = similar * boxes.scores_N[candidates]
    if kind == "alone":
        rivals = similar.sum(axis=0) + similar.sum(axis=1)[:, None] - similar
        similar = similar / (rivals + _CHANCE)
    return np.asarray(similar)


def _near(expected_N4: F64, variance_N4: F64, found_M4: F64) -> F64:
    gap = (found_M4[None] - expected_N4[:, None]) ** 2 / variance_N4[:, None]
    return np.asarray(np.exp(-_DISTANCE * gap.sum(axis=2)))


def _observe(track: Track, boxes: Boxes, box: int, pts: float) -> None:
    track.filter.update(boxes.boxes_N4[box])
    track.box_4 = boxes.boxes_N4[box]
    track.label = boxes.labels[box] or track.label
    track.seen_s, track.missed = pts, False
    track.hits += 1
    if boxes.embeddings_ND is None or not np.isfinite(boxes.embeddings_ND[box]).all():
        return
    seen = boxes.embeddings_ND[box]
    if track.embedding_D is None or not np.isfinite(track.embedding_D).all():
        track.embedding_D = seen
        return
    mixed = _MEMORY * track.embedding_D + (1 - _MEMORY) * seen
    track.embedding_D = mixed / max(float(np.linalg.norm(mixed)), 1e-12)


def _looked_for(track: Track, pts: float) -> bool:
    return track.hits > 1 and pts - track.seen_s <= LOST_S
