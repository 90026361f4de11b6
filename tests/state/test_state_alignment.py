"""Alignment of logs with known faults to what a video shows of the camera's rotation."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from state_cases import FPS, frame_times, seen, told, yaw_deg

from stpe.state.align import align
from stpe.state.log import Row, StateLog, assemble
from stpe.state.motion import VideoMotion


def stamped(log: StateLog, change: object) -> StateLog:
    """The same log with other times, row by row."""
    rows = [dataclasses.replace(r, time=change(n, r.time)) for n, r in enumerate(log.rows)]  # type: ignore[operator]
    return dataclasses.replace(log, rows=tuple(rows))


@pytest.fixture(scope="module")
def injected() -> list[tuple[float, float, object]]:
    """(lag, drift, certificate) of 60 logs with lag, drift, jitter and drops put in."""
    rng = np.random.default_rng(7)
    cases = []
    for seed in range(60):
        lag, drift = rng.uniform(-1.5, 1.5), rng.uniform(0, 500e-6)
        clock = "unix" if seed % 6 == 0 else "relative"
        log = told(seed, lag, drift, jitter_s=0.01, drop=0.01, clock=clock)
        if clock == "unix":
            # A Unix clock is counted from its first row.
            lag = 1.7e9 + lag - log.rows[0].time
        cases.append((lag, drift, align(log, frame_times(), seen(seed))))
    return cases


def test_injected_lags_are_recovered(injected: list) -> None:
    errors = [abs(c.lag_ms - 1e3 * lag) for lag, _, c in injected if c.aligned]
    assert len(errors) >= 0.9 * len(injected)
    assert np.median(errors) < 10
    assert np.percentile(errors, 95) < 25
    assert max(errors) < 50
    inside = [
        c.interval_ms[0] <= 1e3 * lag <= c.interval_ms[1] for lag, _, c in injected if c.aligned
    ]
    assert np.mean(inside) > 0.85
    assert all(7 < c.jitter_ms < 14 for *_, c in injected)


def test_a_log_of_another_video_is_never_certified() -> None:
    for seed in range(10):
        for frames in (False, True):
            log = told(seed + 500, frames=frames)
            certificate = align(log, frame_times(), seen(seed))
            assert certificate.verdict == "unaligned", certificate.reason
            assert (certificate.row_N == -1).all()


def test_two_clocks_are_never_certified() -> None:
    for seed in range(5):
        log = stamped(told(seed, seconds=40), lambda n, t: t + (0.4 if t > 26 else 0.0))
        certificate = align(log, frame_times(40), seen(seed, 40))
        assert certificate.verdict == "unaligned", certificate.reason


def test_what_does_not_move_confirms_nothing() -> None:
    still = seen(1)
    still = dataclasses.replace(still, yaw_N=0 * still.yaw_N, pitch_N=0 * still.pitch_N)
    for lag in (-1.5, -0.2, 0.2, 1.5):
        certificate = align(told(1, lag), frame_times(), still)
        assert not certificate.aligned
        rows = [Row(n / 35 + lag, None, {"player": {"angle_deg": 90.0}}) for n in range(700)]
        certificate = align(assemble(rows, "made", "0", "made"), frame_times(), seen(1))
        assert not certificate.aligned
    certificate = align(told(1), frame_times(), still)
    assert (certificate.method, certificate.verdict, certificate.confirmed) == (
        "clock",
        "unverified",
        False,
    )
    assert (certificate.row_N >= 0).all()


def test_drift_is_found_in_a_long_video() -> None:
    for drift in (0.0, 500e-6):
        certificate = align(told(3, 0.3, drift, seconds=120), frame_times(120), seen(3, 120))
        assert certificate.aligned
        assert abs(certificate.drift_ppm - 1e6 * drift) < 250


def test_frame_numbers_and_faults_by_name() -> None:
    log = told(4, frames=True, lag_s=0.7)
    rows = [r for r in log.rows if r.frame not in (30, 31)]
    rows.insert(100, rows[99])
    log = dataclasses.replace(log, rows=tuple(rows))
    certificate = align(log, frame_times(), seen(4))
    assert (certificate.method, certificate.aligned, certificate.confirmed) == ("frame", True, True)
    assert certificate.lag_ms == pytest.approx(700, abs=1)
    assert certificate.dropped.first == (30, 31)
    assert certificate.duplicated.count == 1
    assert [log.rows[i].frame for i in certificate.row_N[[0, 200, 699]]] == [0, 200, 699]
    json.dumps(certificate.document())


def test_numbers_of_another_length_do_not_stand() -> None:
    rows = [Row(None, n, {"hp": n}) for n in range(1, 200)]
    log = assemble(rows, "made", "0", "made")
    assert align(log, frame_times(), None).verdict == "unaligned"
    certificate = align(log, np.arange(199) / 30, None)
    assert certificate.verdict == "unverified"
    assert certificate.row_N.tolist() == list(range(199))


def walking(seed: int, lag_s: float) -> StateLog:
    """A player who turns evenly all the time, and walks now and then: the log of it."""
    times, way = yaw_deg(seed, 20.0)
    ahead = np.abs(np.gradient(way, times)) / 35
    angle = np.radians(40.0 * times)
    steps = ahead[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    place = np.cumsum(steps, axis=0)
    rows = []
    for n in np.flatnonzero((times >= 0) & (times < 20)):
        position = [float(place[n, 0]), float(place[n, 1]), 0.0]
        turned = float(np.degrees(angle[n]) % 360)
        rows.append(
            Row(
                float(times[n] + lag_s),
                None,
                {"player": {"position": position, "angle_deg": turned}},
            )
        )
    return assemble(rows, "made", "0" * 64, "made")


def walked(seed: int) -> VideoMotion:
    """What its video shows: an even turn, and a picture that grows on the way ahead."""
    rng = np.random.default_rng(seed)
    times, way = yaw_deg(seed, 20.0)
    ahead = np.cumsum(np.abs(np.gradient(way, times)) / 35)
    starts = np.arange(0, 700 - 4) / FPS
    ends = starts + 4 / FPS
    grew = (np.interp(ends, times, ahead) - np.interp(starts, times, ahead)) / 50
    near = 1 + 0.3 * np.sin(starts / 3)
    noise = rng.normal(size=(2, len(starts)))
    turned = 40.0 * (ends - starts) + 0.2 * noise[0]
    return VideoMotion(starts, ends, turned, 0 * turned, grew * near + 0.01 * noise[1])


def test_the_way_ahead_tells_what_an_even_turn_cannot() -> None:
    for seed in range(4):
        certificate = align(walking(seed, 0.6), frame_times(), walked(seed))
        assert certificate.aligned, certificate.reason
        assert abs(certificate.lag_ms - 600) < 25
        assert certificate.interval_ms[0] < 600 < certificate.interval_ms[1]
        # The same turn of another walk, on the same clock, is not this video's.
        other = align(walking(seed + 100, 0.0), frame_times(), walked(seed))
        assert not other.aligned
