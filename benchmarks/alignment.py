"""What `stpe align` recovers from the logs of recorded episodes with faults put in.

    python benchmarks/alignment.py [--tuning] [--cases 12] [--cache FOLDER]

Episodes are recorded with `stpe.simulate.doom` and their camera's motion is measured once, as
`stpe align` does it; `--cache` keeps both. Then the game's log, without its frame numbers, is
given another clock: lag within 1.5 s, drift up to 500 ppm, 10 ms of jitter, 1 % of rows and of
the video's intervals missing; and, in turn, faults that no tolerance covers, which must be
refused. Rules and thresholds were chosen on the episodes of `--tuning` alone; the table is of the
others.

A certificate is wrong where it says `aligned` and the lag, or one frame's row in twenty, is off by
more than the tolerance. Episodes in which the player hardly turns may be refused: fail closed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.simulate.doom import record
from stpe.state.align import Certificate, align
from stpe.state.log import Row, StateLog, assemble
from stpe.state.motion import VideoMotion
from stpe.state.reading import read_log

#: Scenario, seed, seconds, policy and width of the episodes that rules and thresholds were chosen
#: on, and of those that judge, which were recorded after that.
_SCRIPTED = tuple(
    (scenario, seed, seconds, "scripted", 640)
    for scenario, seconds, seeds in (
        ("deathmatch", 25, (1, 101, 102, 103, 201, 202)),
        ("my_way_home", 25, (1, 101, 102, 201)),
        ("health_gathering_supreme", 25, (1, 101, 102, 201, 202)),
        ("defend_the_center", 20, (1, 101, 201)),
        ("defend_the_line", 20, (1, 101, 201, 202)),
        ("deadly_corridor", 20, (1, 101, 201)),
    )
    for seed in seeds
)
_LOOKED_AT = (
    ("deathmatch", 501, 25, "scripted", 640),
    ("deathmatch", 502, 25, "random", 640),
    ("deathmatch", 503, 20, "scripted", 320),
    ("my_way_home", 501, 25, "scripted", 640),
    ("my_way_home", 502, 25, "random", 640),
    ("my_way_home", 503, 20, "scripted", 320),
    ("health_gathering_supreme", 501, 25, "scripted", 640),
    ("health_gathering_supreme", 502, 25, "random", 640),
    ("defend_the_center", 501, 25, "scripted", 640),
    ("defend_the_center", 502, 20, "random", 320),
    ("defend_the_line", 501, 20, "scripted", 320),
    ("defend_the_line", 502, 20, "random", 320),
    ("deadly_corridor", 501, 20, "scripted", 320),
    ("deadly_corridor", 502, 20, "random", 320),
    ("deathmatch", 601, 20, "scripted", 320),
    ("deathmatch", 602, 20, "random", 320),
    ("my_way_home", 601, 20, "scripted", 320),
    ("my_way_home", 602, 20, "random", 320),
    ("health_gathering_supreme", 601, 20, "scripted", 320),
    ("defend_the_center", 602, 20, "random", 320),
    ("defend_the_line", 602, 20, "random", 320),
    ("deadly_corridor", 601, 20, "scripted", 320),
)
TUNED = (*_SCRIPTED, *_LOOKED_AT)
REPORTED = (
    ("deathmatch", 701, 20, "scripted", 320),
    ("deathmatch", 702, 25, "random", 640),
    ("my_way_home", 701, 25, "scripted", 640),
    ("my_way_home", 702, 20, "random", 320),
    ("health_gathering_supreme", 701, 20, "scripted", 320),
    ("health_gathering_supreme", 702, 20, "random", 320),
    ("defend_the_center", 701, 20, "scripted", 320),
    ("defend_the_line", 701, 20, "scripted", 320),
    ("defend_the_line", 702, 20, "random", 320),
    ("deadly_corridor", 701, 20, "scripted", 320),
)
TOLERANCE_S = 0.05
#: Not needed for alignment, and slow.
CUTS = ("transitions.cut", "transitions.gradual")

F64 = np.ndarray


@dataclass(frozen=True)
class Episode:
    """A recorded episode: its log, the times of the video's frames, and the motion seen."""

    name: str
    log: StateLog
    times: F64
    motion: VideoMotion


@dataclass(frozen=True)
class Case:
    """A certificate of a log whose true lag (None: there is none) and drift are known."""

    episode: str
    fault: str
    certificate: Certificate
    lag_s: float | None
    drift: float
    wrong: bool


def episode(
    scenario: str, seed: int, seconds: int, policy: str, width: int, cache: Path
) -> Episode:
    """Record and measure, or take from the cache."""
    folder = cache / f"{scenario}-{seed}-{policy}"
    if not folder.exists():
        size = (width, width * 3 // 4)
        record(folder, seconds, seed, scenario, size, policy)
    with Engine("embedded") as engine:
        out, log = cache / f"{folder.name}.ds", folder / "state.jsonl"
        engine.process(
            folder / "episode.mp4", out, signals=["videos.alignment"], without=CUTS, state=log
        )
    dataset = open_dataset(out)
    times = dataset.arrow("transitions", columns=["pts"])["pts"].to_numpy()
    return Episode(
        folder.name,
        read_log(log),
        times,
        VideoMotion.of(dataset.arrow("transitions")),
    )


def clocked(
    log: StateLog, stamp: Callable[[F64], F64], rng: np.random.Generator, jitter_s: float = 0.01
) -> StateLog:
    """The log on another clock, without frame numbers, 1 % of its rows missing."""
    true = np.array([row.time for row in log.rows], np.float64)
    stamps = stamp(true) + jitter_s * rng.normal(size=len(true))
    kept = np.flatnonzero(rng.random(len(true)) >= 0.01)
    rows = [Row(float(stamps[i]), None, log.rows[i].state) for i in kept]
    return assemble(rows, log.kind, log.sha256, "made")


def thinned(motion: VideoMotion, rng: np.random.Generator) -> VideoMotion:
    """1 % of the video's intervals missing."""
    kept = rng.random(len(motion.ends_N)) >= 0.01
    fields = dataclasses.fields(motion)
    return VideoMotion(**{f.name: getattr(motion, f.name)[kept] for f in fields})


def injected(it: Episode, rng: np.random.Generator) -> Case:
    """Lag, drift, jitter and missing rows within what must be recovered."""
    lag, drift = rng.uniform(-1.5, 1.5), rng.uniform(0, 500e-6)
    middle = (it.times[0] + it.times[-1]) / 2
    log = clocked(it.log, lambda t: t + lag + drift * (t - middle), rng)
    return judged(it, "within tolerance", log, thinned(it.motion, rng), lag, drift)


def faulty(it: Episode, other: Episode, rng: np.random.Generator) -> list[Case]:
    """One case of each fault beyond tolerance."""
    lag = rng.uniform(-1.5, 1.5)
    length = it.times[-1] - it.times[0]

    def still(log: StateLog) -> StateLog:
        first = {k: v for k, v in log.rows[0].state.items() if k != "time"}
        rows = [dataclasses.replace(r, state={**first, "time": r.state["time"]}) for r in log.rows]
        return dataclasses.replace(log, rows=tuple(rows))

    def shuffled(t: F64) -> F64:
        parts = np.array_split(np.arange(len(t)), max(4, int(length / 2)))
        order = rng.permutation(len(parts))
        new = np.empty_like(t)
        new[np.concatenate([parts[i] for i in order])] = t
        return new + lag

    logs = {
        "log of another episode": clocked(other.log, lambda t: t + lag, rng),
        "its rows in place of ours": clocked(other.log, lambda t: t, rng, 0.0),
        "nothing moves in the log": still(clocked(it.log, lambda t: t + np.sign(lag) * 0.3, rng)),
        "parts in another order": clocked(it.log, shuffled, rng),
        "runs backwards": clocked(it.log, lambda t: (t[-1] - t) + lag, rng),
        "twice the speed": clocked(it.log, lambda t: t / 2 + lag, rng),
        "3 % faster": clocked(it.log, lambda t: t * 1.03 + lag, rng),
        "1 % faster": clocked(it.log, lambda t: t * 1.01 + lag, rng),
        "the clock set 0.15 s forward": clocked(
            it.log, lambda t: t + lag + 0.15 * (t > 0.5 * length), rng
        ),
        "the clock set 0.4 s forward": clocked(
            it.log, lambda t: t + lag + 0.4 * (t > 0.6 * length), rng
        ),
        "the clock set 0.4 s back": clocked(
            it.log, lambda t: t + lag - 0.4 * (t > 0.6 * length), rng
        ),
    }
    cases = [
        judged(it, name, log, it.motion, None, 0.0, ours=not name.startswith(("log of", "its")))
        for name, log in logs.items()
    ]
    dead = np.zeros_like(it.motion.yaw_N)
    blind = VideoMotion(it.motion.starts_N, it.motion.ends_N, dead, dead, dead)
    log = clocked(it.log, lambda t: t + np.sign(lag) * max(abs(lag), 0.1), rng)
    return [*cases, judged(it, "nothing moves in the video", log, blind, None, 0.0)]


def judged(
    it: Episode,
    fault: str,
    log: StateLog,
    motion: VideoMotion,
    lag_s: float | None,
    drift: float,
    ours: bool = True,
) -> Case:
    """Align, and compare each frame's row with the one that was recorded with it."""
    found = align(log, it.times, motion, 1e3 * TOLERANCE_S)
    wrong = False
    if found.aligned:
        frames = np.flatnonzero(found.row_N >= 0)
        true = np.array([log.rows[i].state["time"] for i in found.row_N[frames]])
        late = float(np.percentile(np.abs(true - it.times[frames]), 95))
        wrong = not ours or late > TOLERANCE_S
        if lag_s is not None and found.lag_ms is not None:
            wrong = wrong or abs(found.lag_ms / 1e3 - lag_s) > TOLERANCE_S
    return Case(it.name, fault, found, lag_s, drift, wrong)


def told(cases: list[Case]) -> str:
    """The table: a row an episode and one for all, then a row a fault."""
    lines = [
        "| episode | cases | certified | lag error ms: median | p95 | worst | in interval | "
        "drift error ppm: median | wrongly certified | wrongly refused |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    good = [c for c in cases if c.lag_s is not None]
    for name in [*dict.fromkeys(c.episode for c in good), "all"]:
        some = [c for c in good if name in (c.episode, "all")]
        sure = [c for c in some if c.certificate.aligned]
        numbers = ["-"] * 5
        if sure:
            errors = [abs(c.certificate.lag_ms - 1e3 * c.lag_s) for c in sure]
            drifts = [abs(c.certificate.drift_ppm - 1e6 * c.drift) for c in sure]
            lags = [(c.certificate.interval_ms, 1e3 * c.lag_s) for c in sure]
            inside = np.mean([span is not None and span[0] <= x <= span[1] for span, x in lags])
            quantiles = np.median(errors), np.percentile(errors, 95), max(errors)
            numbers = [f"{v:.1f}" for v in quantiles]
            numbers += [f"{100 * inside:.0f} %", f"{np.median(drifts):.0f}"]
        wrong = sum(c.wrong for c in some)
        lines.append(
            f"| {name} | {len(some)} | {len(sure)} | {' | '.join(numbers)} | {wrong} | "
            f"{len(some) - len(sure)} |"
        )
    lines += ["", "| fault beyond tolerance | cases | wrongly certified | refused |"]
    lines.append("|---|---|---|---|")
    bad = [c for c in cases if c.lag_s is None]
    for fault in dict.fromkeys(c.fault for c in bad):
        some = [c for c in bad if c.fault == fault]
        refused = sum(not c.certificate.aligned for c in some)
        lines.append(f"| {fault} | {len(some)} | {sum(c.wrong for c in some)} | {refused} |")
    return "\n".join(lines)


def main() -> int:
    """Print the tables; fail if a certificate is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuning", action="store_true", help="the episodes tuned on instead")
    parser.add_argument("--cases", type=int, default=12, help="logs within tolerance an episode")
    parser.add_argument("--cache", type=Path, help="keep recordings and measurements here")
    parser.add_argument("--reasons", action="store_true", help="say why each log was refused")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cache = given.cache or Path(scratch)
        episodes = []
        for wanted in TUNED if given.tuning else REPORTED:
            print(*wanted, file=sys.stderr)
            episodes.append(episode(*wanted, cache))
    cases: list[Case] = []
    for number, it in enumerate(episodes):
        rng = np.random.default_rng([number, int(given.tuning)])
        cases += [injected(it, rng) for _ in range(given.cases)]
        cases += faulty(it, episodes[(number + 1) % len(episodes)], rng)
    if given.reasons:
        for case in cases:
            if case.wrong or (case.lag_s is not None and not case.certificate.aligned):
                print(f"{case.episode}, {case.fault}: {case.certificate.reason}", file=sys.stderr)
    print(told(cases))
    return int(any(case.wrong for case in cases))


if __name__ == "__main__":
    raise SystemExit(main())
