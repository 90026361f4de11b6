"""Tracked objects of a video with image and metric velocity from optical flow."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stpe.geometry.decompose import camera_model, object_flow
from stpe.geometry.intrinsics import intrinsics
from stpe.models.roles import Detector, FlowEstimator
from stpe.serve.payload import VIDEO_TYPES
from stpe.serve.tasks.context import Context
from stpe.serve.tasks.schemas import (
    VelocityAnswer,
    VelocityObject,
    VelocityObservation,
    VelocityOptions,
)
from stpe.serve.tasks.tracking import F64, FAINT, Step, Walk
from stpe.video.limits import Limits

_MIDDLE = 0.35  # of a box either side of its centre: less background than its edges hold


async def velocity(context: Context) -> VelocityAnswer:
    """Follow and measure objects."""
    detector, flow = await context.models("detector", "flow")
    data, kind = await context.payload(VIDEO_TYPES)
    options, limits = context.body.options, context.shared.limits
    answer: VelocityAnswer = await context.video(
        data, kind, _measure, limits, options, detector, flow
    )
    answer.model = context.model_names("detector", "flow")
    answer.warnings = context.warnings + answer.warnings
    return answer


def _measure(
    path: Path,
    stop: threading.Event,
    limits: Limits,
    options: VelocityOptions,
    detector: Detector,
    flow: FlowEstimator,
) -> VelocityAnswer:
    walk = Walk(path, limits, stop, options.max_frames, options.imgsz)
    seen: dict[int, list[VelocityObservation]] = defaultdict(list)
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    faint = options.threshold * FAINT
    for step in walk.steps(
        lambda image: detector.detect([image], faint)[0], options.threshold, flow, options.max_pairs
    ):
        measured = _velocities(step)
        for number, track in enumerate(step.ids_N.tolist()):
            if track:
                seen[track].append(_observation(step, number, measured, options.meter_per_pixel))
                labels[track][step.found.labels[number]] += 1
    return VelocityAnswer(
        results=[
            _summary(track, labels[track].most_common(1)[0][0], seen[track])
            for track in sorted(seen)
        ],
        model="",
        width=walk.info.width,
        height=walk.info.height,
        processing_time_ms=0.0,
        warnings=list(walk.info.warnings),
        meter_per_pixel=options.meter_per_pixel,
        video=walk.timing,
    )


def _velocities(step: Step) -> list[tuple[F64, float, F64 | None] | None]:
    """For each detection (velocity, deviation, camera's part) in pixels of the video a second."""
    field = step.field
    if field is None or step.seconds <= 0:
        return [None] * len(step.found)
    model = None
    if step.homography is not None:
        camera = intrinsics("", *field.size)
        # Without a translation the model is the homography's flow, which is all that is told here.
        model = camera_model(field, step.homography, np.zeros(3), None, camera)
    points = field.points_N2 + field.flow_N2  # where each sample is in this frame
    found: list[tuple[F64, float, F64 | None] | None] = []
    for box in step.found.boxes_N4.astype(np.float64):
        middle, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        inside = np.asarray((np.abs(points - middle) <= _MIDDLE * size).all(axis=1))
        side = float(np.sqrt(max(1.0, size.prod())))
        flow = object_flow(field, inside, side, step.seconds, model)
        if flow is None:
            found.append(None)
            continue
        scale = step.to_stored_2 / step.seconds
        camera_part = None if flow.camera_2 is None else flow.camera_2 * scale
        found.append((flow.moved_2 * scale, flow.std * float(scale.mean()), camera_part))
    return found


def _observation(
    step: Step,
    number: int,
    measured: Sequence[tuple[F64, float, F64 | None] | None],
    metre_per_pixel: float,
) -> VelocityObservation:
    velocity, std, camera = measured[number] or (None, None, None)
    own = None if velocity is None or camera is None else (velocity - camera).tolist()
    return VelocityObservation(
        frame_index=step.frame_index,
        pts=step.pts,
        score=float(step.found.scores_N[number]),
        box=(step.found.boxes_N4[number] * np.tile(step.to_stored_2, 2)).tolist(),
        velocity_px_s=None if velocity is None else velocity.tolist(),
        velocity_std_px_s=std,
        velocity_m_s=None if velocity is None else (velocity * metre_per_pixel).tolist(),
        object_velocity_px_s=own,
    )


def _summary(track: int, label: str, seen: list[VelocityObservation]) -> VelocityObject:
    pixels = [o.velocity_px_s for o in seen if o.velocity_px_s is not None]
    metres = [o.velocity_m_s for o in seen if o.velocity_m_s is not None]
    own = [o.object_velocity_px_s for o in seen if o.object_velocity_px_s is not None]
    return VelocityObject(
        track_id=track,
        label=label,
        score=float(np.mean([o.score for o in seen])),
        velocity_px_s=_mean(pixels),
        speed_px_s=_speed(pixels),
        velocity_m_s=_mean(metres),
        speed_m_s=_speed(metres),
        object_speed_px_s=_speed(own),
        observations=seen,
    )


def _mean(velocities: list[list[float]]) -> list[float] | None:
    return [float(v) for v in np.mean(velocities, axis=0)] if velocities else None


def _speed(velocities: list[list[float]]) -> float | None:
    return float(np.linalg.norm(velocities, axis=1).mean()) if velocities else None
