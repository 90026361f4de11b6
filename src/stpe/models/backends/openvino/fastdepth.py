"""FastDepth (Wofk et al. 2019, arXiv:1903.03273), trained on indoor scenes (NYU Depth v2).

Outdoors its metres mean nothing and indoors only with its own camera, so it answers as relative
depth with a low confidence: a prior on what is nearer, not a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stpe.models.backends.openvino.session import Session
from stpe.models.roles import Depth
from stpe.video.frame import ImageHW3

SIZE = 224
#: Trust in a map as a whole: rank correlation with true depth is 0.81 to 0.97 on indoor stills and
#: 0.29 to 0.76 on street ones, and nothing tells the two apart.
CONFIDENCE = 0.3


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> FastDepth:
    """`files` holds `fastdepth.onnx`."""
    return FastDepth(Session(files["fastdepth.onnx"], name="fastdepth"))


class FastDepth:
    """The `depth` role."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def depth(self, images: Sequence[ImageHW3]) -> list[Depth]:
        """Relative depth of each image at the image's size, larger is farther."""
        return [self._depth(image) for image in images]

    def _depth(self, image: ImageHW3) -> Depth:
        height, width = image.shape[:2]
        small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        blob = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / 255
        (out,) = self._session.run([blob])
        # The last layer is linear: a few pixels may fall below zero, which no depth can.
        depth = np.maximum(out[0, 0], 1e-3)
        full = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
        return Depth(np.asarray(full, np.float32), "relative", CONFIDENCE)

    def close(self) -> None:
        """Free the compiled graph."""
        self._session.close()
