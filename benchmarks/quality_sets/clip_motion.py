"""Frames of a labelled clip, and its motion rows through our own flow and camera stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from stpe.models import loader
from stpe.signals import schema
from stpe.stages.camera import Camera
from stpe.stages.flow import COLUMNS, Flow
from stpe.stages.stage import MOTION, Request, Span, Window
from stpe.video.frame import Frame, SourceInfo

ALL = Span(0, 0.0, 1e9, last=True)


def frames_of(path: Path) -> Iterator[np.ndarray]:
    """RGB frames of a video file or of a folder of images."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            yield cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        return
    capture = cv2.VideoCapture(str(path))
    while True:
        good, image = capture.read()
        if not good:
            return
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def source_of(image: np.ndarray, fps: float) -> SourceInfo:
    """Facts of a clip whose frames look like this one."""
    return SourceInfo("clip", "file", "0" * 64, image.shape[1], image.shape[0], fps, None, None)


def small(image: np.ndarray) -> np.ndarray:
    """The frame on the motion grid."""
    size = MOTION.frame_size(image.shape[1], image.shape[0])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def motion_of(pairs: list[tuple[Frame, Frame]], source: SourceInfo, camera: str = "") -> pa.Table:
    """Motion rows, with camera columns, of pairs of motion-grid frames."""
    selection = loader.resolve("embedded")
    stage = Flow({"flow": loader.load(selection.models["flow"])}, Request())
    empty = schema("motion", COLUMNS).empty_table()
    parts = [
        stage.process(Window(source, ALL, frames=pair, before=1, core=1)).tables["motion"]
        for pair in pairs
    ]
    motion = pa.concat_tables([empty, *parts])
    made = Camera({}, Request(camera=camera)).process(Window(source, ALL, rows={"motion": motion}))
    for name in made.tables["motion"].column_names[2:]:
        motion = motion.append_column(name, made.tables["motion"][name])
    return motion
