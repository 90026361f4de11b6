"""Camera paths drawn from a seed: fixed, pan, dolly, orbit, handheld."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

KINDS = ("fixed", "pan", "dolly", "orbit", "handheld")


@dataclass(frozen=True)
class CameraPath:
    """Where the camera is at every moment.

    Attributes:
        kind: one of KINDS.
        focus: what it looks at (fixed and pan: at the start), metres.
        distance: from there, metres. azimuth, elevation: of the camera seen from there, radians.
        rate: pan and orbit: swing in radians; dolly: in metres; handheld: shake in radians.
        period_s: of the swing.
        phases: of the shake's waves.
    """

    kind: str
    focus: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float
    rate: float
    period_s: float
    phases: tuple[float, ...]

    @classmethod
    def drawn(
        cls, rng: random.Random, kind: str, focus: tuple[float, float, float], distance: float
    ) -> CameraPath:
        """A path of this kind."""
        sign = rng.choice((-1.0, 1.0))
        rates = {
            "fixed": 0.0,
            "pan": math.radians(rng.uniform(7, 13)),
            "dolly": distance * rng.uniform(0.12, 0.22),
            "orbit": math.radians(rng.uniform(18, 40)),
            "handheld": math.radians(rng.uniform(0.7, 1.6)),
        }
        return cls(
            kind,
            focus,
            distance * rng.uniform(0.85, 1.1),
            rng.uniform(0, 2 * math.pi),
            math.radians(rng.uniform(12, 32)),
            sign * rates[kind],
            rng.uniform(4.5, 7.5),
            tuple(rng.uniform(0, 2 * math.pi) for _ in range(12)),
        )

    def pose(self, time_s: float) -> F64:
        """Camera-to-world, 4x4, OpenCV camera frame, metres."""
        swing = self.rate * math.sin(2 * math.pi * time_s / self.period_s + self.phases[0])
        azimuth = self.azimuth + (swing if self.kind == "orbit" else 0.0)
        flat = math.cos(self.elevation)
        outward = np.array(
            [flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(self.elevation)]
        )
        place = np.array(self.focus) + self.distance * outward
        pose = _looking(place, -outward)
        if self.kind == "pan":
            pose[:3, :3] = _about(np.array([0.0, 0.0, 1.0]), swing) @ pose[:3, :3]
        elif self.kind == "dolly":
            # Half sideways, half forward.
            pose[:3, 3] += swing * (0.8 * pose[:3, 0] + 0.6 * pose[:3, 2])
        elif self.kind == "handheld":
            shake = [self._wave(time_s, axis) for axis in range(4)]
            for axis in range(3):
                pose[:3, :3] = pose[:3, :3] @ _about(np.eye(3)[axis], shake[axis])
            pose[:3, 3] += 0.4 * self.distance * shake[3] * pose[:3, 0]
        return pose

    def _wave(self, time_s: float, axis: int) -> float:
        """Three incommensurate waves of one direction of shake."""
        parts = zip((0.31, 0.83, 1.9), (1.0, 0.7, 0.35), self.phases[3 * axis :], strict=False)
        return self.rate * sum(a * math.sin(2 * math.pi * f * time_s + p) for f, a, p in parts)


def _looking(place: F64, forward: F64) -> F64:
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.array([right, np.cross(forward, right), forward, place]).T
    return pose


def _about(axis_3: F64, angle: float) -> F64:
    x, y, z = axis_3
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)
