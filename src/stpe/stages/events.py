"""What happens in the video, in time order."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stpe import strict_json
from stpe.signals import schema
from stpe.stages.event_contact import collision
from stpe.stages.event_scene import camera_changes, shot_changes, state_changes
from stpe.stages.event_screen import screen_fixed
from stpe.stages.event_tracks import (
    Clock,
    Event,
    Track,
    accelerations,
    motion_changes,
    presence,
)
from stpe.stages.stage import Output, Stage, Window

LEAST_TRACK_CONFIDENCE = 0.3
_COLUMNS = (
    "pts",
    "end_pts",
    "frame_index",
    "kind",
    "track_ids",
    "description",
    "confidence",
    "evidence",
)


class Events(Stage):
    """`events` rows from tracks, the camera, shots and the state log, whichever are there."""

    name = "events"
    version = "6"
    reads = ("frames.frame_index",)
    optional = (
        "frames.shot_id",
        "frames.camera_motion",
        "frames.camera_homography",
        "frames.camera_confidence",
        "frames.state",
        "frames.state_changes",
        "frames.alignment",
        "shots.start_frame",
        "shots.start_pts",
        "shots.transition",
        "shots.confidence",
        "tracks.label",
        "tracks.confidence",
        "objects.track_id",
        "objects.pts",
        "objects.box_xyxy",
        "objects.object_velocity_px_s",
        "objects.velocity_std_px_s",
        "objects.motion",
        "objects.motion_confidence",
        "objects.depth",
        "objects.depth_confidence",
        "relations.subject_track_id",
        "relations.object_track_id",
        "relations.evidence",
        "relations.pts",
    )
    writes = tuple(f"events.{column}" for column in _COLUMNS)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """Find every event of the video."""
        frames = window.rows["frames"]
        clock = _clock(frames, (window.source.width, window.source.height))
        found: list[Event] = []
        tracks = _tracks(window, clock)
        cameras = _cameras(frames)
        in_world = {i: t for i, t in tracks.items() if not screen_fixed(t, clock, cameras)}
        for number, track in tracks.items():
            found += presence(track, clock)
            if number in in_world:
                changes = motion_changes(track)
                found += changes + accelerations(track, changes)
        found += _collisions(window, in_world)
        rows = frames.to_pylist()
        found += camera_changes(rows) + state_changes(rows)
        shots = window.rows.get("shots")
        if shots is not None:
            found += shot_changes(shots.to_pylist(), clock.frames_N)
        found.sort(key=lambda e: (e.pts, e.kind, e.track_ids, e.description))
        return Output({"events": _table(found)})


def _table(events: list[Event]) -> pa.Table:
    rows = [
        {
            "event_id": number,
            "pts": event.pts,
            "end_pts": event.end_pts,
            "frame_index": event.frame_index,
            "kind": event.kind,
            "track_ids": list(event.track_ids),
            "description": event.description,
            "confidence": round(event.confidence, 4),
            "evidence": strict_json.dumps(event.evidence, sort_keys=True),
        }
        for number, event in enumerate(events)
    ]
    return pa.Table.from_pylist(rows, schema("events", _COLUMNS))


def _clock(frames: pa.Table, size: tuple[int, int]) -> Clock:
    shots = np.zeros(frames.num_rows, np.int64)
    if "shot_id" in frames.column_names:
        shots = _numbers(frames, "shot_id").astype(np.float64)
        shots = np.nan_to_num(shots, nan=0).astype(np.int64)
    return Clock(frames["frame_index"].to_numpy(), frames["pts"].to_numpy(), shots, size)


def _cameras(frames: pa.Table) -> dict[int, NDArray[np.float64]]:
    """Frame index to the camera's map from the frame before, where it is known."""
    maps = _vectors(frames, "camera_homography", 9).reshape(-1, 3, 3)
    numbers = frames["frame_index"].to_pylist()
    return {n: m for n, m in zip(numbers, maps, strict=True) if np.isfinite(m).all()}


def _tracks(window: Window, clock: Clock) -> dict[int, Track]:
    objects, known = window.rows.get("objects"), window.rows.get("tracks")
    if objects is None or known is None or "track_id" not in objects.column_names:
        return {}
    objects = objects.filter(objects["track_id"].is_valid())
    objects = objects.sort_by([("track_id", "ascending"), ("frame_index", "ascending")])
    ids = objects["track_id"].to_numpy()
    frames, times = objects["frame_index"].to_numpy(), objects["pts"].to_numpy()
    boxes = _vectors(objects, "box_xyxy", 4)
    velocity = _vectors(objects, "object_velocity_px_s", 2)
    std, trust, depth, depth_trust = (
        _numbers(objects, name)
        for name in ("velocity_std_px_s", "motion_confidence", "depth", "depth_confidence")
    )
    depth = np.where(depth_trust >= 0.5, depth, np.nan)
    motion = (
        objects["motion"].to_pylist()
        if "motion" in objects.column_names
        else [None] * objects.num_rows
    )
    shots = clock.shots_N[np.searchsorted(clock.frames_N, frames)] if len(frames) else frames
    found: dict[int, Track] = {}
    for row in known.to_pylist():
        confidence = row.get("confidence")
        confidence = 0.5 if confidence is None else confidence
        part = slice(*np.searchsorted(ids, [row["track_id"], row["track_id"] + 1]))
        if confidence < LEAST_TRACK_CONFIDENCE or part.start == part.stop:
            continue
        found[row["track_id"]] = Track(
            row["track_id"],
            row.get("label") or "object",
            confidence,
            times[part],
            frames[part],
            boxes[part],
            velocity[part],
            std[part],
            motion[part],
            trust[part],
            depth[part],
            shots[part],
        )
    return found


def _collisions(window: Window, tracks: dict[int, Track]) -> list[Event]:
    relations = window.rows.get("relations")
    if relations is None:
        return []
    approaching = relations.filter(pa.compute.equal(relations["relation"], "approaching"))
    found: list[Event] = []
    for row in approaching.to_pylist():
        a, b = tracks.get(row["subject_track_id"]), tracks.get(row["object_track_id"])
        if a is None or b is None:
            continue
        event = collision(a, b, row["pts"], json.loads(row["evidence"])["closing_px_s"])
        # One approach is seen in several frames, and may be seen from either side.
        if event and not any(
            e.track_ids == event.track_ids and abs(e.pts - event.pts) < 2.0 for e in found
        ):
            found.append(event)
    return found


def _numbers(table: pa.Table, column: str) -> NDArray[np.float64]:
    """A number column as float64, NaN where null or absent."""
    if column not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[column].cast(pa.float64()).to_numpy())


def _vectors(table: pa.Table, column: str, length: int) -> NDArray[np.float64]:
    """A list column of fixed length as rows, NaN where null or absent."""
    rows = np.full((table.num_rows, length), np.nan)
    if column in table.column_names:
        for i, value in enumerate(table[column].to_pylist()):
            if value is not None:
                rows[i] = value
    return rows
