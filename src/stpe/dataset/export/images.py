"""JPEG encoding, the same for every export that carries frames."""

from __future__ import annotations

from pathlib import Path

import cv2

from stpe.errors import DatasetError
from stpe.video.frame import ImageHW3

_QUALITY = 95


def jpeg(image_HW3: ImageHW3) -> bytes:
    """A JPEG of an RGB image."""
    bgr = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not written:
        raise DatasetError(f"cannot encode a frame of {bgr.shape[1]}x{bgr.shape[0]} as JPEG")
    return bytes(data.tobytes())


def write_jpeg(path: Path, image_HW3: ImageHW3) -> None:
    """Write an RGB image as a JPEG file."""
    path.write_bytes(jpeg(image_HW3))
