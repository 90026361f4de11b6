"""Rerun recording (.rrd): frames, masks, boxes, velocities, camera, captions and events on the
presentation clock, to look around in with the Rerun viewer. Needs the extra `rerun`.

Writing a file sends nothing anywhere; only Rerun's own viewer and command collect usage data
(`rerun analytics disable` turns that off).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stpe.dataset.export.draw import color_of
from stpe.dataset.export.images import jpeg
from stpe.dataset.export.scene import Scene, SceneFrame, names, scenes
from stpe.dataset.reader import Dataset
from stpe.errors import MissingExtraError
from stpe.rle import decode_mask

_LONG_SIDE = 960
#: Half-transparent over the picture.
_OPACITY = 0.4


def write(dataset: Dataset, out: Path) -> None:
    """One recording with an entity a video: `/<video>/frame`, `/masks`, `/boxes`, `/velocity`,
    `/caption`, `/events`, `/camera/...`. The timeline `pts` is in seconds. Boxes and arrows are in
    pixels of the logged picture, at most 960 pixels long.
    """
    try:
        import rerun as rr
    except ImportError:
        raise MissingExtraError(
            "rerun-sdk is not installed: pip install 'stpe[rerun]', or choose another format"
        ) from None
    recording = rr.RecordingStream(
        "stpe",
        recording_id="_".join(dataset.videos)[:64],
        default_enabled=True,
        send_properties=False,
    )
    recording.set_log_time_enabled(False)
    recording.set_log_tick_enabled(False)
    recording.save(out, default_blueprint=_blueprint(names(dataset).values()))
    for scene in scenes(dataset):
        _log_scene(rr, recording, scene)
    recording.flush()
    recording.disconnect()


def _blueprint(shown: Iterable[str]) -> Any:
    import rerun.blueprint as rrb

    tabs = [
        rrb.Vertical(
            rrb.Spatial2DView(origin=f"/{name}", name=name),
            rrb.Horizontal(
                rrb.TextDocumentView(origin=f"/{name}/caption", name="caption"),
                rrb.TextLogView(origin=f"/{name}/events", name="events"),
                rrb.TimeSeriesView(origin=f"/{name}/camera", name="camera"),
            ),
            row_shares=[3, 1],
            name=name,
        )
        for name in shown
    ]
    return rrb.Blueprint(rrb.Tabs(*tabs), rrb.TimePanel(timeline="pts"))


def _log_scene(rr: Any, recording: Any, scene: Scene) -> None:
    root = scene.name
    classes = {_identity(o): o["label"] for f in scene.frames for o in f.objects}
    recording.log(
        f"{root}/masks",
        rr.AnnotationContext(
            [(n % 65535 + 1, f"#{n} {label}", color_of(n)) for n, label in classes.items()]
        ),
        static=True,
    )
    for frame, image in zip(scene.frames, scene.images(long_side=_LONG_SIDE), strict=True):
        recording.set_time("pts", duration=frame.pts)
        recording.log(
            f"{root}/frame", rr.EncodedImage(contents=jpeg(image), media_type="image/jpeg")
        )
        _log_objects(rr, recording, root, frame, image.shape[:2], scene.size)
        _log_facts(rr, recording, root, frame)
    for event in scene.dataset.arrow("events", scene.video_id).to_pylist():
        recording.set_time("pts", duration=event["pts"])
        text = f"{event['kind']}: {event['description']}"
        recording.log(f"{root}/events", rr.TextLog(text, level="INFO"))


def _log_objects(
    rr: Any,
    recording: Any,
    root: str,
    frame: SceneFrame,
    shape: tuple[int, int],
    stored: tuple[int, int],
) -> None:
    scale = np.array([shape[1] / stored[0], shape[0] / stored[1]])
    boxes = np.array([o["box_xyxy"] for o in frame.objects], float).reshape(-1, 4)
    boxes = boxes * np.tile(scale, 2)
    names = [
        o["label"] if o["track_id"] is None else f"#{o['track_id']} {o['label']}"
        for o in frame.objects
    ]
    recording.log(
        f"{root}/boxes",
        rr.Boxes2D(
            array=boxes,
            array_format=rr.Box2DFormat.XYXY,
            labels=names,
            colors=[color_of(_identity(o)) for o in frame.objects],
        ),
    )
    classes = np.zeros(shape, np.uint16)
    for item in sorted(frame.objects, key=lambda o: -(o["area_px"] or 0.0)):
        if item["mask_rle"] is not None:
            mask = decode_mask(item["mask_rle"]).astype(np.uint8)
            mask = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST)
            classes[mask > 0] = _identity(item) % 65535 + 1
    recording.log(f"{root}/masks", rr.SegmentationImage(classes, opacity=_OPACITY))
    moving = [
        (n, o["object_velocity_px_s"] or o["velocity_px_s"])
        for n, o in enumerate(frame.objects)
        if o["motion"] == "moving"
    ]
    moving = [(n, v) for n, v in moving if v is not None]
    recording.log(
        f"{root}/velocity",
        rr.Arrows2D(
            origins=[(boxes[n, :2] + boxes[n, 2:]) / 2 for n, _ in moving],
            vectors=[np.asarray(v) * scale for _, v in moving],
        ),
    )


def _log_facts(rr: Any, recording: Any, root: str, frame: SceneFrame) -> None:
    row = frame.row
    texts = [row[f"caption_{size}"] for size in ("brief", "normal", "detailed")]
    recording.log(f"{root}/caption", rr.TextDocument("\n\n".join(filter(None, texts))))
    recording.log(f"{root}/objects", rr.Scalars(len(frame.objects)))
    if row["camera_rotation_deg"] is not None:
        recording.log(f"{root}/camera/rotation_deg", rr.Scalars(row["camera_rotation_deg"]))
    if row["camera_confidence"] is not None:
        recording.log(f"{root}/camera/confidence", rr.Scalars(row["camera_confidence"]))


def _identity(item: dict[str, Any]) -> int:
    return int(item["object_id"] if item["track_id"] is None else item["track_id"])
