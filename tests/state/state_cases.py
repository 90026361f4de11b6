"""A player's view over time as a video shows it and as a log tells it, with faults put in."""

from __future__ import annotations

import numpy as np

from stpe.state.log import Row, StateLog, assemble
from stpe.state.motion import VideoMotion

FPS = 35.0


def yaw_deg(seed: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and angles of a player who turns now and then, at 35 a second."""
    rng = np.random.default_rng(seed)
    times = np.arange(-3.0, seconds + 3.0, 1 / FPS)
    rate = np.zeros(len(times))
    at = 0
    while at < len(times):
        still = rng.exponential(0.5)
        turn = rng.uniform(0.15, 0.8)
        a, b = at + int(still * FPS), at + int((still + turn) * FPS)
        rate[a:b] = rng.normal(0, 110)
        at = max(b, at + 1)
    smooth = np.convolve(rate, np.ones(4) / 4, "same")
    return times, np.cumsum(smooth) / FPS


def seen(seed: int, seconds: float = 20.0, rate: float = 10.0, noise: float = 1.0) -> VideoMotion:
    """Camera rotation by interval: noise in proportion and a floor, and 3 % that is wrong."""
    rng = np.random.default_rng(seed + 10_000)
    times, angle = yaw_deg(seed, seconds)
    ends = np.arange(1, int(seconds * rate)) / rate
    # Analysis frames lie on the video's own frames.
    ends = np.round(ends * FPS) / FPS
    starts = np.concatenate([[0.0], ends[:-1]])
    turned = np.interp(ends, times, angle) - np.interp(starts, times, angle)
    turned = 0.93 * turned * (1 + 0.1 * noise * rng.normal(size=len(turned)))
    turned += 0.25 * noise * rng.normal(size=len(turned))
    wrong = rng.random(len(turned)) < 0.03
    turned[wrong] = rng.normal(0, 15, wrong.sum())
    known = rng.random(len(turned)) > 0.05
    pitch = 0.02 * rng.normal(size=len(turned))
    return VideoMotion(
        starts[known], ends[known], turned[known], pitch[known], pitch[known] * np.nan
    )


def told(
    seed: int,
    lag_s: float = 0.0,
    drift: float = 0.0,
    jitter_s: float = 0.0,
    drop: float = 0.0,
    seconds: float = 20.0,
    frames: bool = False,
    clock: str = "relative",
) -> StateLog:
    """The log: lag at the video's middle, drift, jitter of its times and rows dropped."""
    rng = np.random.default_rng(seed + 20_000)
    times, angle = yaw_deg(seed, seconds)
    inside = (times >= -1e-9) & (times < seconds - 1e-9)
    times, angle = times[inside], angle[inside]
    stamps = times + lag_s + drift * (times - seconds / 2)
    stamps = stamps + jitter_s * rng.normal(size=len(stamps))
    if clock == "unix":
        stamps = stamps + 1.7e9
    kept = rng.random(len(times)) >= drop
    rows = [
        Row(float(t), n if frames else None, {"player": {"angle_deg": float(-a % 360)}, "hp": n})
        for n, (t, a) in enumerate(zip(stamps, angle, strict=True))
        if kept[n]
    ]
    return assemble(rows, "made", "0" * 64, "made")


def frame_times(seconds: float = 20.0) -> np.ndarray:
    """Times of the video's frames."""
    return np.arange(round(seconds * FPS)) / FPS
