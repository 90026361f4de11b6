"""What a log says of its video: names, sizes, episodes, sessions, days."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from stpe import cli
from stpe.state.align import align
from stpe.state.identity import Video, contradictions
from stpe.state.log import Row, StateLog, assemble
from stpe.state.timetable import same_timetable


def log(name: str = "log.jsonl", clock: float = 0.0, head: dict | None = None, **state) -> StateLog:
    rows = [Row(clock + n / 30, n, {"hp": n, **state}) for n in range(60)]
    return assemble(rows, "made", "0" * 64, name, head=head)


@pytest.mark.parametrize(
    ("said", "video"),
    [
        (log(screen={"path": "0.3.2.mkv"}), Video("a/0.4.2.mkv")),
        (log(screen={"media_ref": {"uri": "C:\\\\rec\\\\take one.mkv"}}), Video("take two.mkv")),
        (log(head={"video": "walk.mp4"}), Video("https://h/x/run.mp4?key=1")),
        (log(head={"source": {"video_file": "walk"}}), Video("run.webm")),
        (log(head={"frame_width": 1080, "frame_height": 1920}), Video("v.mp4", 640, 480)),
        (log(episode_index=29), Video("episode_000030.mp4")),
        (log(head={"session": "abc"}), Video("v.mp4", tags={"SESSION": "abd"})),
        (log(device_id="left"), Video("v.mp4", tags={"Device-ID": "right"})),
        (log("0.3.2.mcap"), Video("0.4.2.mkv")),
        (log("run1_log.csv"), Video("run2_video.mp4")),
        (log("game_20260101_120000.csv"), Video("game_20260102_120000.mp4")),
        (log(clock=1.7e9), Video("v.mp4", tags={"creation_time": "2023-01-01T00:00:00.000000Z"})),
    ],
)
def test_another_video_is_refused(said: StateLog, video: Video) -> None:
    (against,) = contradictions(said, video)
    certificate = align(said, np.arange(60) / 30, None, video=video)
    assert (certificate.verdict, certificate.reason) == ("unaligned", against)
    assert (certificate.row_N == -1).all()


@pytest.mark.parametrize(
    ("said", "video"),
    [
        (log(screen={"path": "0.3.2.mkv"}), Video("0.3.2 (1).mp4")),
        (log(head={"video": "walk.mkv"}), Video("exports/WALK_720p.mp4")),
        (log(head={"video": "walk.mkv"}), Video("0123456789abcdef" * 4 + ".mkv")),
        (log(head={"frame_width": 1920, "frame_height": 1080}), Video("v.mp4", 854, 480)),
        (log(head={"frame_width": 1920, "frame_height": 1080}), Video("v.mp4", 480, 854)),
        (log(episode_index=29), Video("episode_000029.mp4")),
        (log(episode_index=29), Video("camera_3.mp4")),
        (log("state.jsonl"), Video("episode.mp4")),
        (log("state_001.jsonl"), Video("walk_002.mp4")),
        (log("run1_log.csv"), Video("run1_video.mp4")),
        (log("walk_log_v2_60hz.csv"), Video("walk_1080p_h264_30fps.mp4")),
        (log("game_20260101_120000.csv"), Video("game_20260101_120007.mp4")),
        (log(clock=1.7e9), Video("v.mp4", tags={"creation_time": "2023-11-14T22:13:21Z"})),
        (log(clock=1.7e9), Video("v.mp4", tags={"creation_time": "1970-01-01T00:00:00Z"})),
        (log(clock=1.7e9), Video("v.mp4", tags={"creation_time": "no time"})),
    ],
)
def test_what_agrees_or_says_nothing_proves_nothing(said: StateLog, video: Video) -> None:
    certificate = align(said, np.arange(60) / 30, None, video=video)
    assert certificate.verdict == "unverified"
    assert not certificate.contradictions
    assert (certificate.row_N >= 0).all()


def test_irregular_frame_times_are_a_witness_and_regular_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    mine, other = (np.cumsum(rng.integers(1, 20, 60)) * 0.02 for _ in range(2))
    assert same_timetable(mine, mine)
    assert same_timetable(mine[:-2], mine)
    assert not same_timetable(mine[:40], mine)
    assert not same_timetable(mine, other)
    assert not same_timetable(mine[:8], mine[:8])
    regular = np.arange(300) / 30
    assert not same_timetable(regular, regular)
    assert not same_timetable(np.delete(regular, [20, 90]), np.delete(regular, [20, 90]))


def test_frame_numbers_are_no_times_of_frames() -> None:
    times = np.cumsum(np.random.default_rng(1).integers(1, 20, 60)) * 0.02
    for name, (clock, wanted) in {
        "its own": (times - times[0], "aligned"),
        "since 1970": (times + 1.7e9, "aligned"),
        "regular": (np.arange(60) / 30, "unverified"),
        "none": (None, "unverified"),
    }.items():
        rows = [Row(None if clock is None else float(clock[n]), n, {"hp": n}) for n in range(60)]
        certificate = align(assemble(rows, "made", "0", "made"), times, None)
        assert (certificate.verdict, certificate.method) == (wanted, "frame"), name


def test_records_that_travel_with_their_frames_need_no_witness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, apart = tmp_path / "package.zip", tmp_path / "log.json"
    records = [{"frame_idx": n, "player": {"hp": n}} for n in range(1, 25)]
    apart.write_text(json.dumps(records))
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("log.json", json.dumps(records))
        for n in range(1, 25):
            png = cv2.imencode(".png", np.full((32, 48, 3), 9 * n, np.uint8))[1]
            archive.writestr(f"frame_{n:03}.png", png.tobytes())

    def aligned(log: Path) -> tuple[int, dict]:
        code = cli.run(["align", str(package), str(log), "--profile", "embedded", "--json"])
        return code, json.loads(capsys.readouterr().out)

    code, within = aligned(package)
    assert (code, within["verdict"], within["method"], within["rows"]) == (
        0, "aligned", "package", 24,
    )  # fmt: skip
    code, beside = aligned(apart)
    assert (code, beside["verdict"], beside["method"]) == (3, "unverified", "frame")
    assert "nothing in the video confirms it" in beside["reason"]
    assert set(within) == set(beside)
    apart.write_text(json.dumps(records[:10]))
    code, short = aligned(apart)
    assert (code, short["verdict"]) == (1, "unaligned")
