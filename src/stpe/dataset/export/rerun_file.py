"""Rerun recording (.rrd): frames, masks, boxes, joints, velocities, depth, flow, the camera's path,
captions and events on the presentation clock, to look around in with the Rerun viewer. Needs the
extra `rerun`.

Writing a file sends nothing anywhere; only Rerun's own viewer and command collect usage data
(`rerun analytics disable` turns that off).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stpe.dataset.export.images import jpeg
from stpe.dataset.export.part import WHOLE, Part
from stpe.dataset.export.rerun_layout import blueprint
from stpe.dataset.export.rerun_maps import log_depth, log_flow
from stpe.dataset.export.rerun_objects import log_classes, log_objects
from stpe.dataset.export.rerun_path import log_path
from stpe.dataset.export.scene import Scene, SceneFrame, scenes
from stpe.dataset.reader import Dataset
from stpe.errors import MissingExtraError

_LONG_SIDE = 960


def write(dataset: Dataset, out: Path, part: Part = WHOLE) -> None:
    """One recording with an entity a video. The timeline `pts` is in seconds.

    - `/<video>/frame`, `/masks`, `/boxes`, `/joints`, `/velocity`: in pixels of the logged picture,
      at most 960 pixels long.
    - `/<video>/depth`, `/geometric_depth`: depth images; with `meter` where they are in metres,
      else `unit` says what they are in.
    - `/<video>/flow`: colours (hue is the direction, saturation the length), and below it `uv`, the
      numbers: height x width x (u right, v down) in pixels of the stored frame.
    - `/<video>/path/<trajectory>`: the camera's poses as transforms with axes (x right, y down,
      z forward), and their line. The dataset holds no intrinsics, so there is no view cone.
    - `/<video>/caption`, `/events`, `/objects`, `/camera/...`: text and numbers.
    """
    try:
        import rerun as rr
    except ImportError:
        raise MissingExtraError(
            "rerun-sdk is not installed: pip install 'stpe[rerun]', or choose another format"
        ) from None
    recording = rr.RecordingStream(
        "stpe",
        recording_id="_".join(part.of(dataset))[:64],
        default_enabled=True,
        send_properties=False,
    )
    recording.set_log_time_enabled(False)
    recording.set_log_tick_enabled(False)
    recording.save(out, default_blueprint=blueprint(dataset, part))
    for scene in scenes(dataset, part):
        _log_scene(rr, recording, scene, part)
    recording.flush()
    recording.disconnect()


def _log_scene(rr: Any, recording: Any, scene: Scene, part: Part) -> None:
    root = scene.name
    log_classes(rr, recording, scene)
    for frame, image in zip(scene.frames, scene.images(long_side=_LONG_SIDE), strict=True):
        recording.set_time("pts", duration=frame.pts)
        recording.log(
            f"{root}/frame", rr.EncodedImage(contents=jpeg(image), media_type="image/jpeg")
        )
        log_objects(rr, recording, root, frame, image.shape[:2], scene.size)
        _log_facts(rr, recording, root, frame)
    log_depth(rr, recording, scene)
    log_flow(rr, recording, scene, part)
    log_path(rr, recording, scene)
    events = scene.dataset.arrow("events", scene.video_id, None, part.since_s, part.until_s)
    for event in events.to_pylist():
        recording.set_time("pts", duration=event["pts"])
        text = f"{event['kind']}: {event['description']}"
        recording.log(f"{root}/events", rr.TextLog(text, level="INFO"))


def _log_facts(rr: Any, recording: Any, root: str, frame: SceneFrame) -> None:
    row = frame.row
    texts = [row[f"caption_{size}"] for size in ("brief", "normal", "detailed")]
    recording.log(f"{root}/caption", rr.TextDocument("\n\n".join(filter(None, texts))))
    recording.log(f"{root}/objects", rr.Scalars(len(frame.objects)))
    if row["camera_rotation_deg"] is not None:
        recording.log(f"{root}/camera/rotation_deg", rr.Scalars(row["camera_rotation_deg"]))
    if row["camera_confidence"] is not None:
        recording.log(f"{root}/camera/confidence", rr.Scalars(row["camera_confidence"]))
