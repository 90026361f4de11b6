"""Rules for relations of motion, on camera-compensated image velocities."""

from __future__ import annotations

import math

import numpy as np

from stpe.stages.pair_geometry import Pair, Relation, ramp

REACH_SIZES = 6.0
CONTACT_S = 5.0


def kinetic(pair: Pair) -> list[Relation]:
    """At most one of approaching and following. Nothing without both velocities."""
    a, b = pair.a, pair.b
    if a.velocity is None or b.velocity is None or not (a.moving or b.moving):
        return []
    if pair.gap_sizes > REACH_SIZES:
        return []
    found = _following(pair) or _approaching(pair)
    return [found] if found else []


def _approaching(pair: Pair) -> Relation | None:
    """The one that closes the gap most is the subject."""
    a, b = pair.a, pair.b
    between = b.centre - a.centre
    distance = float(np.linalg.norm(between))
    if distance == 0 or pair.gap_px == 0:
        return None
    towards = between / distance
    by_a = float(np.dot(a.velocity or (0, 0), towards))
    by_b = -float(np.dot(b.velocity or (0, 0), towards))
    closing = by_a + by_b
    size = (a.size + b.size) / 2
    noise = math.hypot(a.velocity_std or 0.1 * size, b.velocity_std or 0.1 * size)
    subject, object_ = (a, b) if by_a >= by_b else (b, a)
    if closing <= max(2 * noise, 0.15 * size) or not subject.moving:
        return None
    seconds = pair.gap_px / closing
    if seconds > CONTACT_S:
        return None
    evidence = {"closing_px_s": closing, "noise_px_s": noise, "contact_s": seconds}
    confidence = 0.4 + 0.6 * ramp(closing / noise, 2.0, 6.0)
    return Relation(subject, object_, "approaching", confidence, evidence)


def _following(pair: Pair) -> Relation | None:
    """Both move the same way at like speed, the subject behind the object on its path."""
    a, b = pair.a, pair.b
    if not (a.moving and b.moving):
        return None
    va, vb = np.asarray(a.velocity), np.asarray(b.velocity)
    speeds = float(np.linalg.norm(va)), float(np.linalg.norm(vb))
    if min(speeds) <= 0 or max(speeds) > 2 * min(speeds):
        return None
    course = (va + vb) / np.linalg.norm(va + vb) if np.any(va + vb) else va / speeds[0]
    same_way = float(np.dot(va, vb) / (speeds[0] * speeds[1]))
    between = b.centre - a.centre
    distance = float(np.linalg.norm(between))
    if same_way < 0.85 or distance == 0:
        return None
    ahead = float(np.dot(between, course)) / distance
    if abs(ahead) < 0.7 or distance < 0.5 * (a.size + b.size) / 2:
        return None
    behind, leader = (a, b) if ahead > 0 else (b, a)
    evidence = {"same_way_cos": same_way, "in_line_cos": abs(ahead), "distance_px": distance}
    confidence = same_way * abs(ahead) * min(speeds) / max(speeds)
    return Relation(behind, leader, "following", confidence, evidence)
