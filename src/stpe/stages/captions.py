"""Captions of frames and shots and the video's summary, narrated from the other signals."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from stpe.narrate.facts import UNNAMED, FrameFacts, Thing
from stpe.narrate.frame import narrate_frame
from stpe.narrate.span import Span, narrate_shot, narrate_video
from stpe.narrate.state import GameState, read_state
from stpe.signals import schema
from stpe.stages.by_frame import rows_by_frame
from stpe.stages.stage import Output, Stage, Window

_LONE = 0.5  # of a detector's score for a thing of one look, in a video where others are followed
_IN_SHOT = 0.75  # of a clip's time that lies in a shot, from which its class is told there
_NAMED = 0.25  # trust in a name below which it is not spoken
_LEVELS = ("caption_brief", "caption_normal", "caption_detailed")
_FRAME = (*_LEVELS, "caption_evidence", "caption_facts")


class Captions(Stage):
    """Narrates what the tables hold; whatever is absent is not spoken of.

    A frame's shot is the last one that begins at or before it.
    """

    name = "captions"
    version = "8"
    reads = ("frames.frame_index",)
    optional = (
        "videos.duration_s",
        "frames.camera_motion",
        "frames.camera_confidence",
        "frames.camera_rotation_deg",
        "frames.state",
        "frames.alignment",
        "shots.start_frame",
        "shots.start_pts",
        "shots.end_pts",
        "shots.transition",
        "objects.label",
        "objects.confidence",
        "objects.box_xyxy",
        "objects.area_px",
        "objects.track_id",
        "objects.object_velocity_px_s",
        "objects.velocity_std_px_s",
        "objects.motion",
        "objects.motion_confidence",
        "tracks.label",
        "tracks.confidence",
        "tracks.motion_summary",
        "relations.confidence",
        "events.pts",
        "events.frame_index",
        "events.kind",
        "events.track_ids",
        "events.evidence",
        "events.description",
        "events.confidence",
        "clips.start_pts",
        "clips.end_pts",
        "clips.classes",
        "clips.class_confidence",
    )
    writes = (
        *(f"frames.{column}" for column in _FRAME),
        *(f"shots.{column}" for column in _LEVELS),
        "videos.summary",
    )
    options = ("context",)
    scope = "video"
    length = None

    def process(self, window: Window) -> Output:
        """Narrate the whole video, one frame at a time."""
        context = self.request.context
        shots = _rows(window, "shots")
        step = _step(window.rows["frames"]["pts"].to_numpy())
        whole, parts = Span(step), {shot["shot_id"]: Span(step) for shot in shots}
        told: dict[str, list[Any]] = {name: [] for name in ("frame_index", "pts", *_FRAME)}
        for facts in _facts(window, shots, context):
            captions = narrate_frame(facts)
            told["frame_index"].append(facts.frame_index)
            told["pts"].append(facts.pts)
            told["caption_brief"].append(captions.brief)
            told["caption_normal"].append(captions.normal)
            told["caption_detailed"].append(captions.detailed)
            told["caption_evidence"].append(captions.evidence)
            told["caption_facts"].append(captions.claims)
            whole.add(facts)
            if facts.shot is not None:
                parts[facts.shot["shot_id"]].add(facts)
        tables = {"frames": pa.table(told, schema("frames", _FRAME))}
        if "shots" in window.rows:
            rows = [
                {"shot_id": shot["shot_id"], **narrate_shot(parts[shot["shot_id"]], shot, context)}
                for shot in shots
            ]
            tables["shots"] = pa.Table.from_pylist(rows, schema("shots", _LEVELS))
        facts_of_video = (_rows(window, "videos") or [{}])[0]
        duration_s = facts_of_video.get("duration_s")
        summary = narrate_video(whole, duration_s, len(shots) or None, context)
        videos = pa.Table.from_pylist([{"summary": summary}], schema("videos", ["summary"]))
        return Output({**tables, "videos": videos})


def _rows(window: Window, table: str) -> list[dict[str, Any]]:
    return window.rows[table].to_pylist() if table in window.rows else []


def _step(pts_N: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Median seconds between analysis frames; 0 for a single one."""
    return float(np.median(np.diff(pts_N))) if len(pts_N) > 1 else 0.0


def _facts(window: Window, shots: list[dict[str, Any]], context: str) -> Iterator[FrameFacts]:
    """Facts of every frame in order, holding one frame's rows at a time."""
    width, height = window.source.width, window.source.height
    tracks = {row["track_id"]: row for row in _rows(window, "tracks")}
    objects, relations = _by_frame(window, "objects"), _by_frame(window, "relations")
    events: dict[int, list[dict[str, Any]]] = {}
    for event in _rows(window, "events"):
        events.setdefault(event["frame_index"], []).append(event)
    clips = sorted(_rows(window, "clips"), key=lambda c: c["start_pts"])
    starts = [c["start_pts"] for c in clips]
    borders = [s["start_frame"] for s in shots]
    before: tuple[float, int, GameState | None] | None = None
    for frame, (row,) in rows_by_frame(window.rows["frames"]):
        number = bisect_right(borders, frame) - 1
        clip = bisect_right(starts, row["pts"]) - 1
        shot = shots[number] if number >= 0 else None
        inside = clip >= 0 and row["pts"] < clips[clip]["end_pts"] and _shows(clips[clip], shot)
        things = None
        if objects is not None:
            found = [_thing(o, tracks, width * height) for o in objects.get(frame)]
            things = sorted(found, key=lambda t: t.salience)
        state = read_state(row.get("state")) if row.get("alignment") != "unaligned" else None
        last = before[2] if before is not None else None
        yield FrameFacts(
            frame,
            row["pts"],
            (width, height),
            things,
            row.get("camera_motion"),
            row.get("camera_confidence"),
            row.get("camera_rotation_deg"),
            relations.get(frame) if relations is not None else (),
            events.get(frame, []) if "events" in window.rows else None,
            clips[clip] if inside else None,
            state,
            row.get("alignment"),
            shot,
            row["pts"] - before[0] if before is not None and before[1] == number else None,
            context,
            last if last and state and last.episode == state.episode else None,
            row["pts"] - before[0] if before is not None else None,
        )
        before = (row["pts"], number, state)


def _shows(clip: Mapping[str, Any], shot: Mapping[str, Any] | None) -> bool:
    """Whether what a clip was taken for can be said of a shot."""
    if shot is None:
        return True
    first, last = max(clip["start_pts"], shot["start_pts"]), min(clip["end_pts"], shot["end_pts"])
    return bool(last - first >= _IN_SHOT * (clip["end_pts"] - clip["start_pts"]))


class _Walk:
    """Rows of a sorted table, asked for frame by frame in rising order."""

    def __init__(self, table: pa.Table) -> None:
        self._rows = rows_by_frame(table)
        self._next = next(self._rows, None)

    def get(self, frame: int) -> list[dict[str, Any]]:
        while self._next is not None and self._next[0] < frame:
            self._next = next(self._rows, None)
        return self._next[1] if self._next is not None and self._next[0] == frame else []


def _by_frame(window: Window, table: str) -> _Walk | None:
    return _Walk(window.rows[table]) if table in window.rows else None


def _thing(row: Mapping[str, Any], tracks: Mapping[Any, Mapping[str, Any]], area: int) -> Thing:
    track = tracks.get(row.get("track_id"))
    motion = row.get("motion")
    if track is not None:
        if "motion_summary" in track and track["motion_summary"] is None:
            motion = None if motion is None else "unknown"
        label, confidence = track["label"], track["confidence"]
    else:
        label, confidence = row["label"] or UNNAMED, row["confidence"] or 0.0
        if tracks:
            confidence *= _LONE
    return Thing(
        row["object_id"],
        row.get("track_id"),
        label if confidence >= _NAMED else UNNAMED,
        confidence,
        row["box_xyxy"],
        min((row["area_px"] or 0.0) / max(area, 1), 1.0),
        motion,
        row.get("motion_confidence"),
        row.get("object_velocity_px_s"),
        row.get("velocity_std_px_s"),
    )
