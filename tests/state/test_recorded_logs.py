"""Robot and desktop recordings matched to their own videos."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.state.align import align
from stpe.state.identity import Video
from stpe.state.reading import read_log

ROBOT = "lerobot_g1_v21_subset"
CAMERA = "videos/chunk-000/observation.images.cam_high"


def processed(video: Path, log: Path, out: Path) -> tuple[dict, list, list]:
    """Certificate, state and method of each analysis frame."""
    with Engine("embedded") as engine:
        engine.process(
            video, out, signals=["videos.alignment"], state=log,
            without=["transitions.cut", "transitions.gradual"],
        )  # fmt: skip
    dataset = open_dataset(out)
    certificate = dataset.arrow("videos", columns=["alignment"])["alignment"][0].as_py()
    frames = dataset.arrow("frames", columns=["frame_index", "pts", "state", "alignment"])
    return json.loads(certificate), frames.to_pylist(), frames["alignment"].to_pylist()


def test_a_lerobot_episode_beside_its_video(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / ROBOT
    log = folder / "data/chunk-000/episode_000029.parquet"
    certificate, frames, how = processed(
        folder / CAMERA / "episode_000029.mp4", log, tmp_path / "ds"
    )
    assert (certificate["verdict"], certificate["matched_share"]) == ("unverified", 1.0)
    assert (certificate["method"], certificate["dropped"]["count"]) == ("frame", 0)
    assert set(how) == {"unverified"}
    wanted = pq.read_table(log)["observation.state"].to_pylist()
    for frame in frames:
        assert json.loads(frame["state"])["observation"]["state"] == wanted[frame["frame_index"]]


def test_the_episode_of_another_robot_video_is_refused(shared_data: Path) -> None:
    log = read_log(shared_data / ROBOT / "data/chunk-000/episode_000059.parquet")
    assert align(log, np.arange(221) / 30, None).verdict == "unaligned"
    # The next longer one, whose video is three frames longer, says its episode's number.
    log = read_log(shared_data / ROBOT / "data/chunk-000/episode_000030.parquet")
    other = Video("videos/episode_000059.mp4", 640, 480)
    assert align(log, np.arange(280) / 30, None, video=other).verdict == "unaligned"


def test_episodes_of_a_v3_file_follow_each_other(shared_data: Path, tmp_path: Path) -> None:
    parts = [
        pq.read_table(shared_data / ROBOT / f"data/chunk-000/episode_0000{n}.parquet")
        for n in (29, 30, 59)
    ]
    lengths = [len(part) for part in parts]
    pq.write_table(pa.concat_tables(parts), tmp_path / "file-000.parquet")
    log = read_log(tmp_path / "file-000.parquet")
    certificate = align(log, np.arange(sum(lengths)) / 30, None)
    assert (certificate.method, certificate.verdict, certificate.matched_share) == (
        "frame",
        "unverified",
        1.0,
    )
    second = log.rows[certificate.row_N[lengths[0]]].state
    assert (second["episode_index"], second["frame_index"]) == (30, 0)
    assert align(log, np.arange(lengths[0]) / 30, None).verdict == "unaligned"


@pytest.mark.parametrize("version", ["0.3.2", "0.4.2", "0.5.1"])
def test_a_desktop_recording_beside_its_video(
    shared_data: Path, tmp_path: Path, version: str
) -> None:
    pytest.importorskip("mcap")
    folder = shared_data / "owa_screen_recordings"
    log = folder / f"{version}.mcap"
    certificate, frames, how = processed(folder / f"{version}.mkv", log, tmp_path / "ds")
    assert (certificate["verdict"], certificate["method"]) == ("aligned", "clock")
    assert certificate["witness"] == "frame times"
    assert certificate["matched_share"] > 0.9
    assert how.count("clock") >= len(how) - 1
    for frame in frames:
        if frame["state"] is not None:
            screen = json.loads(frame["state"])["screen"]
            pts = screen.get("media_ref", screen).get("pts_ns", screen.get("pts"))
            assert abs(pts / 1e9 - frame["pts"]) < 0.05


def test_a_desktop_log_is_certified_for_its_own_video_alone(shared_data: Path) -> None:
    pytest.importorskip("mcap")
    folder = shared_data / "owa_screen_recordings"
    videos = [*folder.glob("*.mkv"), *(shared_data / "plain_clips").glob("*.mp4")]
    assert len(videos) == 10
    for log in folder.glob("*.mcap"):
        read = read_log(log)
        for path in videos:
            with av.open(str(path)) as container:
                (stream,) = container.streams.video
                stamps = [p.pts for p in container.demux(stream) if p.pts is not None]
                times = np.array(sorted(stamps)) * float(stream.time_base)
                # By its times alone, without the names.
                unnamed = Video("0" * 64 + ".mkv", stream.width, stream.height)
            wanted = "aligned" if path.stem == log.stem else "unaligned"
            assert align(read, times, None).verdict == wanted, (log, path)
            assert align(read, times, None, video=unnamed).verdict == wanted, (log, path)
