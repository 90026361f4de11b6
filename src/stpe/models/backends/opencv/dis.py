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
_BROAD = 4.0  # standard deviation of what is taken off as shading, in pixels at half size
_LONG = 0.03  # share of the width from which a shift of the whole image is tried
_POOR = 30  # grey levels: any larger difference is as bad
_SMALLEST = 32  # below this a side has no coarse level; such images are padded


class Dis:
    """Role FlowEstimator."""

    coarser = 3

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
        shift = _shift(gray_a, gray_b)
        if shift is not None:
            # A fast pan is further than the coarsest level reaches, where texture repeats.
            start = np.ascontiguousarray(np.broadcast_to(shift, (*gray_a.shape, 2)))
            shifted = search.calc(gray_a, gray_b, start)
            flow = min((flow, shifted), key=lambda found: _misfit(gray_a, gray_b, found))
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


def _shift(gray_a: Any, gray_b: Any) -> F32 | None:
    """Displacement of the whole image by phase correlation, where it is a long one.

    Source: Kuglin and Hines, "The phase correlation image alignment method", 1975.
    """
    size = gray_a.shape[1] // 2, gray_a.shape[0] // 2
    small = []
    for gray in (gray_a, gray_b):
        image = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        small.append(image - cv2.GaussianBlur(image, (0, 0), _BROAD))
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(small[0], small[1], window)
    shift = np.array([2 * x, 2 * y], np.float32)
    return shift if np.linalg.norm(shift) > _LONG * gray_a.shape[1] else None


def _misfit(gray_a: Any, gray_b: Any, flow: F32) -> float:
    """Mean bounded grey difference between the first image and the second brought back."""
    height, width = gray_a.shape
    y, x = np.mgrid[1:height:3, 1:width:3].astype(np.float32)
    here = np.ascontiguousarray(flow[1::3, 1::3])
    back = cv2.remap(gray_b, x + here[..., 0], y + here[..., 1], cv2.INTER_LINEAR)
    inside = (np.abs(x + here[..., 0] - width / 2) < width / 2) & (
        np.abs(y + here[..., 1] - height / 2) < height / 2
    )
    gap = np.abs(back.astype(np.int16) - gray_a[1::3, 1::3])
    # What leaves the image counts as a poor fit, or a flow out of the image would have none.
    return float(np.mean(np.where(inside, np.minimum(gap, _POOR), _POOR)))


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
