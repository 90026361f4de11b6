"""Measured numbers of pairs of boxes, and the rules that turn them into spatial relations.

Image coordinates: x right, y down. An object's size is the square root of its box area; gaps are
counted in the pair's mean size, so that rules hold at any scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 3
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Body:
    """One object of a frame, as relations see it. Unknown numbers are None."""

    object_id: int
    box: tuple[float, float, float, float]
    track_id: int | None = None
    depth: float | None = None
    depth_confidence: float = 0.0
    velocity: tuple[float, float] | None = None  # camera-compensated, px/s
    velocity_std: float | None = None
    moving: bool = False

    @property
    def width(self) -> float:
        """Box width in pixels."""
        return max(self.box[2] - self.box[0], 1e-6)

    @property
    def height(self) -> float:
        """Box height in pixels."""
        return max(self.box[3] - self.box[1], 1e-6)

    @property
    def size(self) -> float:
        """Square root of the box area, pixels."""
        return math.sqrt(self.width * self.height)

    @property
    def centre(self) -> F64:
        """Box centre (x, y)."""
        return np.array([(self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2])


@dataclass(frozen=True, slots=True)
class Relation:
    """`subject` stands in relation `kind` to `object`."""

    subject: Body
    object: Body
    kind: str
    confidence: float
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """What is measured of two bodies. Overlaps are along one axis, negative for a gap."""

    a: Body
    b: Body
    overlap_x: float
    overlap_y: float
    covered_a: float  # share of a that b covers: by masks where both have one, else by boxes
    covered_b: float
    boxed_a: float  # share of a's box inside b's box
    boxed_b: float

    @property
    def gap_px(self) -> float:
        """Distance between the boxes; 0 where they touch or overlap."""
        return math.hypot(min(self.overlap_x, 0.0), min(self.overlap_y, 0.0))

    @property
    def gap_sizes(self) -> float:
        """That distance in mean object sizes."""
        return 2 * self.gap_px / (self.a.size + self.b.size)

    @property
    def depth_ratio(self) -> float | None:
        """Depth of b over depth of a; None where either is unknown or not positive."""
        if not (self.a.depth and self.b.depth) or min(self.a.depth, self.b.depth) <= 0:
            return None
        return self.b.depth / self.a.depth

    @property
    def depth_confidence(self) -> float:
        """Trust in the depth ratio."""
        return min(self.a.depth_confidence, self.b.depth_confidence)


def measure(a: Body, b: Body, covered: tuple[float, float] | None) -> Pair:
    """Measure a pair; `covered` are mask coverages (of a by b, of b by a) where masks exist."""
    overlap_x = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    overlap_y = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    shared = max(overlap_x, 0.0) * max(overlap_y, 0.0)
    boxed = (shared / (a.width * a.height), shared / (b.width * b.height))
    return Pair(a, b, overlap_x, overlap_y, *(covered or boxed), *boxed)


def ramp(value: float, low: float, high: float) -> float:
    """0 at `low`, 1 at `high`, straight between."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def spatial(pair: Pair) -> list[Relation]:
    """At most one of inside, overlapping, near; one of left_of, above; and in_front_of."""
    return [r for r in (_contact(pair), _side(pair), _front(pair)) if r is not None]


def _contact(pair: Pair) -> Relation | None:
    a, b = pair.a, pair.b
    small, large, boxed, covered = (
        (a, b, pair.boxed_a, pair.covered_a)
        if a.size <= b.size
        else (b, a, pair.boxed_b, pair.covered_b)
    )
    if boxed >= 0.85 and small.size < 0.8 * large.size:
        # Instance masks are often cut out of each other, so a low mask share weakens, no more.
        confidence = ramp(boxed, 0.7, 1.0) * (0.5 + 0.5 * covered)
        evidence = {"box_inside": boxed, "covered": covered}
        return Relation(small, large, "inside", confidence, evidence)
    if covered >= 0.05 and pair.overlap_x > 0 and pair.overlap_y > 0:
        first, second = _ordered(a, b)
        evidence = {"covered_of_smaller": covered}
        return Relation(
            first, second, "overlapping", 0.5 + 0.5 * ramp(covered, 0.05, 0.5), evidence
        )
    ratio = pair.depth_ratio
    apart = ratio is not None and max(ratio, 1 / ratio) > 1.5 and pair.depth_confidence >= 0.5
    if pair.gap_sizes <= 0.5 and not apart:
        first, second = _ordered(a, b)
        evidence = {"gap_px": pair.gap_px, "gap_sizes": pair.gap_sizes}
        return Relation(first, second, "near", 1.0 - pair.gap_sizes, evidence)
    return None


def _ordered(a: Body, b: Body) -> tuple[Body, Body]:
    """A symmetric relation is stored once: the lower object number is the subject."""
    return (a, b) if a.object_id < b.object_id else (b, a)


def _side(pair: Pair) -> Relation | None:
    a, b = pair.a, pair.b
    narrow, low = min(a.width, b.width), min(a.height, b.height)
    beside = pair.overlap_y / low  # share of the shorter one that is level with the other
    stacked = pair.overlap_x / narrow
    apart_x, apart_y = -pair.overlap_x / narrow, -pair.overlap_y / low
    if apart_x >= -0.1 and beside >= 0.3:
        left, right = (a, b) if a.centre[0] < b.centre[0] else (b, a)
        evidence = {"gap_px": max(-pair.overlap_x, 0.0), "level_share": beside}
        return Relation(left, right, "left_of", 0.5 + 0.5 * ramp(beside, 0.3, 0.8), evidence)
    if apart_y >= -0.1 and stacked >= 0.3:
        top, bottom = (a, b) if a.centre[1] < b.centre[1] else (b, a)
        evidence = {"gap_px": max(-pair.overlap_y, 0.0), "aligned_share": stacked}
        return Relation(top, bottom, "above", 0.5 + 0.5 * ramp(stacked, 0.3, 0.8), evidence)
    return None


def _front(pair: Pair) -> Relation | None:
    """By depth where it is trusted; else by which one stands lower, for overlapping boxes."""
    a, b = pair.a, pair.b
    if pair.gap_sizes > 0.5 or max(pair.boxed_a, pair.boxed_b) > 0.95:
        return None
    ratio = pair.depth_ratio
    if ratio is not None and pair.depth_confidence >= 0.5:
        if max(ratio, 1 / ratio) < 1.15:
            return None
        near, far = (a, b) if ratio > 1 else (b, a)
        confidence = pair.depth_confidence * ramp(abs(math.log(ratio)), 0.0, 0.4)
        evidence = {"method": "depth", "near": near.depth, "far": far.depth}
        return Relation(near, far, "in_front_of", confidence, evidence)
    step = (a.box[3] - b.box[3]) / min(a.height, b.height)
    if abs(step) < 0.1 or min(pair.overlap_x, pair.overlap_y) <= 0:
        return None
    near, far = (a, b) if step > 0 else (b, a)
    if ratio is not None and (ratio > 1) != (near is a):
        return None
    confidence = 0.2 + 0.2 * ramp(abs(step), 0.1, 0.5)
    evidence = {"method": "ground contact", "lower_by_px": abs(a.box[3] - b.box[3])}
    return Relation(near, far, "in_front_of", confidence, evidence)
