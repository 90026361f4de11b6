"""`analysis.json` in the shape of the first STPE prototype, for tools written for it.

Its words: frames are numbered in analysis frames, `bbox` is [x0, y0, x1, y1] in whole pixels,
`velocity` is a speed in pixels a second, `direction` an angle in degrees counter-clockwise from
right (90 is up), both null where unknown.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stpe import strict_json
from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.scene import Scene, SceneFrame, names, scene
from stpe.dataset.reader import Dataset

SUFFIX = ".json"
_KINDS = {"appears": "object_appears", "disappears": "object_disappears"}


def write(dataset: Dataset, out: Path, part: Part = WHOLE) -> None:
    """`<name>.json` for every video."""
    for video_id, name in names(dataset, part).items():
        write_one(dataset, video_id, out / f"{name}{SUFFIX}", part)


def write_one(dataset: Dataset, video_id: str, out: Path, part: Part = WHOLE) -> None:
    """One `analysis.json`."""
    document = analysis(dataset, video_id, part)
    out.write_text(
        strict_json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def analysis(dataset: Dataset, video_id: str, part: Part = WHOLE) -> dict[str, Any]:
    """The document of one video."""
    shown = scene(dataset, video_id, part)
    span = (part.since_s, part.until_s)
    tracks = dataset.arrow("tracks", video_id, None, *span).to_pylist()
    events = dataset.arrow("events", video_id, None, *span).to_pylist()
    objects = sum(len(f.objects) for f in shown.frames)
    known = {t["track_id"]: t for t in tracks}
    return {
        "video_id": video_id,
        "exported_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "summary": shown.video["summary"] or "",
        "stats": {
            "num_frames": len(shown.frames),
            "num_tracks": len(tracks),
            "total_objects_detected": objects,
            "avg_objects_per_frame": objects / len(shown.frames) if shown.frames else 0.0,
            "frames_downloaded": 0,  # no picture lies beside the document
        },
        "frames": [_frame(shown, frame) for frame in shown.frames],
        "key_events": [_event(shown, event, known) for event in events],
        "tracked_objects": [_track(track) for track in tracks],
    }


def _frame(shown: Scene, frame: SceneFrame) -> dict[str, Any]:
    width, height = shown.size
    tracked = [o for o in frame.objects if o["track_id"] is not None]
    row: dict[str, Any] = {
        "frame_idx": frame.number,
        "timestamp": frame.pts,
        "filename": f"frame_{frame.number:04d}.jpg",
        "frame_width": width,
        "frame_height": height,
        "num_objects": len(frame.objects),
        "objects": [_object(o) for o in frame.objects],
        "tracks": [_observation(o) for o in tracked],
        "caption": {
            size: frame.row[f"caption_{size}"] or "" for size in ("brief", "normal", "detailed")
        },
    }
    if frame.row["state"] is not None:
        row["roblox_metadata"] = json.loads(frame.row["state"])
    return row


def _object(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "bbox": _box(item),
        "area": None if item["area_px"] is None else round(item["area_px"]),
        "confidence": None if item["confidence"] is None else round(item["confidence"], 2),
        "label": item["label"],
    }


def _observation(item: dict[str, Any]) -> dict[str, Any]:
    speed = direction = None
    if item["velocity_px_s"] is not None:
        u, v = item["velocity_px_s"]
        speed = round(math.hypot(u, v), 1)
        direction = round(math.degrees(math.atan2(-v, u)) % 360, 1) if speed else None
    return {
        "track_id": item["track_id"],
        "bbox": _box(item),
        "velocity": speed,
        "direction": direction,
    }


def _box(item: dict[str, Any]) -> list[int]:
    return [round(value) for value in item["box_xyxy"]]


def _event(
    shown: Scene, event: dict[str, Any], tracks: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """An event; with one figure, which and where to, `stationary` for one that stands."""
    times = [f.pts for f in shown.frames]
    figures = [tracks[t] for t in event["track_ids"] or () if t in tracks]
    one: dict[str, Any] = {}
    if len(figures) == 1:
        one = {"object": figures[0]["label"], "direction": _track(figures[0])["primary_direction"]}
    return {
        "type": _KINDS.get(event["kind"], event["kind"]),
        "frame_idx": max(bisect_right(times, event["pts"]) - 1, 0),
        "timestamp": event["pts"],
        "objects": [figure["label"] for figure in figures],
        **one,
        "description": event["description"],
    }


def _track(track: dict[str, Any]) -> dict[str, Any]:
    movement = track["motion_summary"]
    return {
        "track_id": track["track_id"],
        "label": track["label"],
        "movement_type": "stationary" if movement == "static" else movement,
        "primary_direction": "stationary" if movement == "static" else track["direction"],
    }
