"""Dense inverse search flow (Kroeger et al. 2016, arXiv 1603.03590) with full-size refinement.

OpenCV's medium preset stops at half resolution and enlarges. Here that search, with fewer steps,
is followed by a variational refinement at full resolution, which is more accurate for little more
time; a search at full resolution costs three times as much and strays more on compressed video.
`benchmarks/quality_sets/flow.py` compares them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stpe.errors import UsageError
from stpe.models.roles import F32
from stpe.video.frame import ImageHW3

_SIZES_KEPT = 4
_SMALLEST = 32  # below this a side has no coarse level; such images are padded


class Dis:
    """Role FlowEstimator."""

    def __init__(self, refinement: int) -> None:
        self._refinement = refinement
        self._local = threading.local()

    def flow(self, image_a: ImageHW3, image_b: ImageHW3) -> F32:
        """HxWx2 float32 pixels from `image_a` to `image_b`.

        Raises:
            UsageError: the images differ in size.
        """
        if image_a.shape != image_b.shape:
            raise UsageError(
                f"flow needs two images of one size, not {image_a.shape} and {image_b.shape}"
            )
        height, width = image_a.shape[:2]
        gray_a, gray_b = _gray(image_a), _gray(image_b)
        # A new solver each time: a used one keeps the scales it chose for the last image's size.
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setGradientDescentIterations(12)
        search.setVariationalRefinementIterations(4)
        flow = search.calc(gray_a, gray_b, None)
        if self._refinement:
            flow = self._refiner(search, gray_a.shape).calc(gray_a, gray_b, flow)
        return np.ascontiguousarray(flow[:height, :width])

    def _refiner(self, search: Any, shape: tuple[int, ...]) -> Any:
        # Its only memory is its buffers, which take longer to make than to use: one is kept for
        # each thread and the last few image sizes.
        kept: dict[tuple[int, ...], Any] = self._local.__dict__.setdefault("refiners", {})
        if shape not in kept:
            if len(kept) == _SIZES_KEPT:
                kept.clear()
            refiner = cv2.VariationalRefinement.create()
            refiner.setFixedPointIterations(self._refinement)
            # The weights that the search's own refinement uses.
            refiner.setAlpha(search.getVariationalRefinementAlpha())
            refiner.setDelta(search.getVariationalRefinementDelta())
            refiner.setGamma(search.getVariationalRefinementGamma())
            refiner.setEpsilon(search.getVariationalRefinementEpsilon())
            kept[shape] = refiner
        return kept[shape]

    def close(self) -> None:
        """Free the calling thread's buffers; others go with their threads."""
        self._local = threading.local()


def _gray(image: ImageHW3) -> Any:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    below, right = (max(0, _SMALLEST - side) for side in gray.shape)
    if below or right:
        return cv2.copyMakeBorder(gray, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return gray


def load(files: Mapping[str, Path], options: Mapping[str, Any]) -> Dis:
    """No files. Options: `refinement`, iterations at full resolution (default 1; 0 for none).

    OpenCV is set to one thread for the whole process: the search divides an image between its
    threads and lets matches spread only within a part, so more threads would change the result,
    and the executor already keeps every core busy.
    """
    cv2.setNumThreads(1)
    return Dis(int(options.get("refinement", 1)))
