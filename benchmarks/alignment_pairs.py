"""How many logs are certified for videos that they do not belong to.

    python benchmarks/alignment_pairs.py DATA CASES [--games 6] [--screens 6] [--pairs 500]

DATA holds `owa_screen_recordings` and `lerobot_g1_v21_subset`, whose videos have logs, and any
other videos; CASES a folder a case with a `make.py` or `make.sh` that makes videos and logs, of
which the logs and the first two videos are taken. Games
of `stpe.simulate.doom`, and screens whose frames come when the picture changes, are recorded here:
all of one kind have one length, so that their logs fit each other by the clock.

Each log is tried as it is and with other clocks: frame numbers alone, times in the video, times
from zero, and Unix times. Each pair is tried with what the log and the video say of themselves
(names, sizes, tags), with that hidden, and with that hidden and the log cut to the video's length.

Rules were chosen on DATA; the recordings made here have seeds that no rule has seen. The table
tells both apart: a pair counts as held back where its log does. All right pairs are tried, and of
the wrong pairs as many as `--pairs` says, drawn with one seed.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.errors import StpeError
from stpe.simulate.doom import record
from stpe.state.align import align
from stpe.state.identity import Video, contradictions
from stpe.state.log import Row, StateLog, assemble
from stpe.state.motion import VideoMotion
from stpe.state.reading import read_log
from stpe.video.opening import open_source

SUFFIXES = (".mp4", ".mkv", ".avi", ".webm", ".mov", ".ts", ".flv")
SCENARIOS = ("deathmatch", "my_way_home", "health_gathering_supreme", "defend_the_center")
#: Nothing below was recorded while rules were chosen.
FIRST_SEED = 900
SECONDS = 12
#: Begin of logs with Unix times.
EPOCH = 1_780_000_000.0
VERDICTS = ("aligned", "unverified", "unaligned")
WAYS = ("as they are", "names hidden", "names hidden, cut to length")


@dataclass(frozen=True)
class Clip:
    """A video as `align` sees it."""

    path: Path
    video: Video
    times: np.ndarray
    motion: VideoMotion


@dataclass(frozen=True)
class Told:
    """A log, the video that it belongs to (None: none of these), and the kind of its clock."""

    log: StateLog
    own: Path | None
    clock: str
    held_back: bool


def screen(folder: Path, seed: int) -> tuple[Path, Path]:
    """A screen that changes now and then, a frame only when it does, and the input beside it."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    ticks = np.unique(np.cumsum(rng.geometric(0.15, 400)))
    ticks = np.append(np.append(0, ticks[ticks < SECONDS * 60]), SECONDS * 60)
    video, log = folder / f"screen_{seed}.mkv", folder / f"input_{seed}.csv"
    page = np.full((90, 160, 3), 200, np.uint8)
    lines = ["pts_ns,key,x,y"]
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=60)
        stream.width, stream.height = 160, 90
        for tick in ticks.tolist():
            x, y = int(rng.integers(150)), int(rng.integers(80))
            cv2.rectangle(page, (x, y), (x + 8, y + 6), rng.integers(0, 255, 3).tolist(), -1)
            picture = av.VideoFrame.from_ndarray(page)
            picture.pts = tick
            container.mux(stream.encode(picture))
            lines.append(f"{round(tick * 1e9 / 60)},{'WASD'[tick % 4]},{x},{y}")
        container.mux(stream.encode())
    log.write_text("\n".join(lines) + "\n")
    return video, log


def recorded(data: Path) -> Iterator[tuple[Path, Path]]:
    """Videos of DATA with their logs."""
    for log in sorted(data.glob("owa_screen_recordings/*.mcap")):
        yield log.with_suffix(".mkv"), log
    for log in sorted(data.glob("lerobot_*/data/*/*.parquet")):
        for video in sorted(data.glob(f"lerobot_*/videos/*/*/{log.stem}.mp4")):
            yield video, log


def made(cases: Path, scratch: Path) -> None:
    """Every case in a folder of its own; those whose maker fails are left out."""
    for maker in sorted(itertools.chain(cases.glob("*/make.py"), cases.glob("*/make.sh"))):
        folder = scratch / maker.parent.name
        folder.mkdir()
        command = [sys.executable if maker.suffix == ".py" else "bash", str(maker.resolve())]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode:
            print(f"{maker.parent.name} is not made", file=sys.stderr)


def videos_in(folder: Path) -> list[Path]:
    """Sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def clips(paths: list[Path], scratch: Path) -> list[Clip]:
    """Decode each video once and measure its motion; what cannot be read is left out."""
    out, found, known = scratch / "ds", [], set[str]()
    # Motion is measured where there is a log to compare it with; any will do.
    log = scratch / "any.json"
    log.write_text('[{"frame": 0}, {"frame": 1}]')
    with Engine("embedded") as engine:
        result = engine.process(
            [str(path) for path in paths],
            out,
            signals=["videos.alignment"],
            without=["transitions.cut", "transitions.gradual"],
            state=[str(log)] * len(paths),
        )
    dataset = open_dataset(out)
    for path, report in zip(paths, result.videos, strict=True):
        if report.video_id is None or report.status == "failed" or report.video_id in known:
            continue
        known.add(report.video_id)
        rows = dataset.arrow("transitions", report.video_id)
        with open_source(str(path)) as source:
            info = source.info
        video = Video(info.uri, info.width, info.height, info.tags)
        times = rows["pts"].to_numpy().astype(np.float64)
        found.append(Clip(path, video, times, VideoMotion.of(rows)))
    return found


def kind(log: StateLog) -> str:
    """Of the clock that the log has by itself."""
    if log.clock == "none":
        return "frame numbers"
    numbered = all(row.frame is not None for row in log.rows)
    named = {"video": "times in the video", "relative": "times from zero", "unix": "Unix times"}
    return f"{named[log.clock]} and frame numbers" if numbered else named[log.clock]


def clocked(log: StateLog, clip: Clip) -> Iterator[StateLog]:
    """The log of a clip with each other clock; its rows are laid on frames by their own account."""
    row_N = align(log, clip.times, clip.motion).row_N
    kept = [(n, log.rows[row].state) for n, row in enumerate(row_N.tolist()) if row >= 0]
    bare = [(n, {k: v for k, v in s.items() if k not in _CLOCKS}) for n, s in kept]
    times = clip.times - clip.times[0]
    for clock, rows in (
        (None, [Row(None, n, state) for n, state in bare]),
        ("video", [Row(float(clip.times[n]), None, state) for n, state in bare]),
        ("relative", [Row(float(times[n]), None, state) for n, state in bare]),
        ("unix", [Row(EPOCH + float(times[n]), None, state) for n, state in bare]),
    ):
        if rows:
            yield assemble(rows, log.kind, log.sha256, log.name, clock=clock, head=log.head)


_CLOCKS = ("time", "timestamp", "t", "frame", "frame_index", "frame_idx", "index", "pts_ns", "tick")


def cut(log: StateLog, times: np.ndarray) -> StateLog:
    """The log's rows that a video of that length has room for, from the log's first on."""
    if log.clock == "none":
        first = min(row.frame for row in log.rows)
        rows = [row for row in log.rows if row.frame < first + len(times)]
    else:
        start = times[0] if log.clock == "video" else log.rows[0].time
        rows = [r for r in log.rows if start <= r.time <= start + times[-1] - times[0]]
    return replace(log, rows=tuple(rows or log.rows[:1]), records=())


def main() -> int:
    """Print the table; fail if a log is certified for another's video."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--games", type=int, default=6, help="games to record")
    parser.add_argument("--screens", type=int, default=6, help="screens to record")
    parser.add_argument("--pairs", type=int, default=500, help="wrong pairs to draw")
    parser.add_argument(
        "--reasons", action="store_true", help="say why, for each wrong certificate"
    )
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        own = {log: video for video, log in recorded(given.data)}
        seen = set(own)
        for number in range(given.games):
            folder = scratch / f"game_{number}"
            scenario = SCENARIOS[number % len(SCENARIOS)]
            record(folder, SECONDS, FIRST_SEED + number, scenario, (320, 240))
            own[folder / "state.jsonl"] = folder / "episode.mp4"
        for number in range(given.screens):
            video, log = screen(scratch / f"screen_{number}", FIRST_SEED + number)
            own[log] = video
        (scratch / "cases").mkdir()
        made(given.cases, scratch / "cases")
        others = videos_in(given.data)
        for folder in sorted((scratch / "cases").iterdir()):
            others += videos_in(folder)[:2]
        paths = sorted({*own.values(), *others})
        seen_clips = {clip.path: clip for clip in clips(paths, scratch)}
        logs: list[Told] = []
        for path, video in own.items():
            log, clip = read_log(path), seen_clips[video]
            for one in (log, *clocked(log, clip)):
                logs.append(Told(one, video, kind(one), path not in seen))
        for path in sorted(p for p in (scratch / "cases").rglob("*") if p.is_file()):
            if path.suffix in (".json", ".jsonl", ".csv", ".parquet"):
                try:
                    log = read_log(path)
                except StpeError:
                    continue
                logs.append(Told(log, None, kind(log), False))
        print(f"{len(logs)} logs of {len({t.log.sha256 for t in logs})} files, "
              f"{len(seen_clips)} videos", file=sys.stderr)  # fmt: skip
        return judge(logs, list(seen_clips.values()), given.pairs, given.reasons)


def drawn(logs: list[Told], videos: list[Clip], count: int) -> list[tuple[Told, Clip]]:
    """All right pairs, and `count` of the wrong ones."""
    pairs = list(itertools.product(logs, videos))
    wrong = [pair for pair in pairs if pair[0].own != pair[1].path]
    order = np.random.default_rng(0).permutation(len(wrong))[:count]
    return [p for p in pairs if p[0].own == p[1].path] + [wrong[n] for n in order.tolist()]


def judge(logs: list[Told], videos: list[Clip], count: int, reasons: bool) -> int:
    """Align the drawn logs and videos each way, and print the tables."""
    counts: Counter[tuple[bool, bool, str, str, str]] = Counter()
    for told, clip in drawn(logs, videos, count):
        right = told.own == clip.path
        hidden = align(told.log, clip.times, clip.motion)
        found_as = {WAYS[0]: hidden, WAYS[1]: hidden}
        if contradictions(told.log, clip.video):
            found_as[WAYS[0]] = align(told.log, clip.times, clip.motion, video=clip.video)
        if not right:
            found_as[WAYS[2]] = align(cut(told.log, clip.times), clip.times, clip.motion)
        for way, found in found_as.items():
            counts[right, told.held_back, told.clock, way, found.verdict] += 1
            if reasons and found.aligned and not right:
                print(f"{told.log.name} ({told.own}), {told.clock}, {clip.path.name}, {way}: "
                      f"{found.reason}", file=sys.stderr)  # fmt: skip
    wrong = 0
    for right, title in ((False, "wrong pairs"), (True, "right pairs")):
        print(f"\n| {title}: clock of the log | logs | tried | pairs | {' | '.join(VERDICTS)} |")
        print("|---|---|---|---|---|---|---|")
        kinds = dict.fromkeys(told.clock for told in logs)
        for clock, held, way in itertools.product((*kinds, "all"), (False, True), WAYS):
            got = [
                sum(
                    count
                    for (r, h, c, w, v), count in counts.items()
                    if (r, h, w, v) == (right, held, way, verdict) and clock in (c, "all")
                )
                for verdict in VERDICTS
            ]
            if not sum(got):
                continue
            seeds = "held back" if held else "seen before"
            cells = " | ".join(map(str, got))
            print(f"| {clock} | {seeds} | {way} | {sum(got)} | {cells} |")
            wrong += got[0] if not right else 0
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
