"""Poses of --camera on the clock of a video: starts, wall clocks, units, order of quaternions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from stpe import cli
from stpe.dataset.reader import open_dataset
from stpe.errors import UsageError
from stpe.geometry.pose_times import poses_of
from stpe.geometry.supplied import supplied
from stpe.state.camera_file import read_camera, read_depth
from stpe.video.frame import SourceInfo

UNIX = 1305031102.0
VIDEO = SourceInfo("a.ts", "file", "0" * 64, 64, 48, 24.0, 3.0, 72, start_pts=1.4)
FOLDER = replace(VIDEO, kind="folder", start_pts=0.0, unix_start_s=UNIX + 1)


def tum(begin: float, scale: float = 1.0, header: str = "", order: str = "xyzw") -> str:
    """A place along x that is the seconds since the first pose, and a quarter turn about y."""
    turn = {"x": 0.0, "y": 0.6, "z": 0.0, "w": 0.8}
    lines = [
        f"{(begin + i / 24) * scale!r} {i / 24} 0 0 {' '.join(str(turn[a]) for a in order)}"
        for i in range(72)
    ]
    return "\n".join([header, *lines])


def at(text: str, path: Path, source: SourceInfo, seconds: float) -> tuple[float | None, tuple]:
    """x of the pose at `seconds` after the source's first frame."""
    path.write_text(text)
    poses, said = poses_of(read_camera(path)[0], source)
    pose = poses.at(0, source.start_pts + seconds)
    return None if pose is None else round(float(pose[0, 3]), 5), said


@pytest.mark.parametrize(
    ("text", "source", "expected", "said"),
    [
        (tum(UNIX), VIDEO, 0.5, "taken for the first frame"),
        (tum(UNIX), FOLDER, 1.5, None),
        (tum(UNIX, 1e3, "# timestamp_ms tx ty tz qx qy qz qw"), FOLDER, 1.5, None),
        (tum(UNIX, 1e9), FOLDER, 1.5, None),
        (tum(0), VIDEO, 0.5, None),
        (tum(1.4), VIDEO, 0.5, "file's own clock"),
        (tum(100), VIDEO, 0.5, "moved to begin with the video"),
        (tum(0.25), replace(VIDEO, start_pts=0.0, duration_s=4.0), 0.25, None),
    ],
)
def test_times_count_on_the_videos_clock(
    tmp_path: Path, text: str, source: SourceInfo, expected: float, said: str | None
) -> None:
    x, notes = at(text, tmp_path / "poses.txt", source, 0.5)
    assert x == pytest.approx(expected, abs=1e-4)
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_pts_of_json_mean_what_covers_the_video(tmp_path: Path) -> None:
    for begin in (0.0, 1.4):
        pose = np.eye(4)
        entries = []
        for i in range(72):
            pose[0, 3] = i / 24
            entries.append({"pts": begin + i / 24, "camera_to_world": pose.ravel().tolist()})
        x, notes = at(json.dumps({"poses": entries}), tmp_path / "a.json", VIDEO, 0.5)
        assert x == pytest.approx(0.5)
        assert len(notes) == (begin == 0.0)
    named = [{"time_ns": round(e["pts"] * 1e9), **e} for e in entries]
    for entry in named:
        del entry["pts"]
    assert at(json.dumps({"poses": named}), tmp_path / "a.json", VIDEO, 0.5)[0] == 0.5


def test_a_header_names_the_order_of_a_quaternion(tmp_path: Path) -> None:
    expected = cv2.Rodrigues(np.array([0, 2 * np.arctan2(0.6, 0.8), 0]))[0]
    for order in ("xyzw", "wxyz"):
        names = "# timestamp tx ty tz " + " ".join(f"q{a}" for a in order)
        (tmp_path / "a.txt").write_text(tum(0, header=names, order=order))
        poses, _ = poses_of(read_camera(tmp_path / "a.txt")[0], FOLDER)
        np.testing.assert_allclose(poses.poses_N44[9, :3, :3], expected, atol=1e-9)
    euroc = "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],"
    euroc += "q_RS_z [],v_RS_R_x [m s^-1]\n"
    euroc += "".join(f"{10**18 + i * 10**8},{i},0,0,0.8,0,0.6,0,7\n" for i in range(9))
    (tmp_path / "data.csv").write_text(euroc)
    poses, _ = poses_of(read_camera(tmp_path / "data.csv")[0], VIDEO)
    np.testing.assert_allclose(poses.poses_N44[4, :3, :3], expected, atol=1e-9)
    np.testing.assert_allclose(poses.places_N, 1.4 + np.arange(9) / 10, atol=1e-6)
    first = tum(0, order="wxyz").replace("0.8 0.0 0.6", "1.0 0.0 0.0")
    (tmp_path / "b.txt").write_text(first)
    with pytest.raises(UsageError, match="w first"):
        read_camera(tmp_path / "b.txt")


def test_numbers_count_from_one_where_that_fits(tmp_path: Path) -> None:
    def poses(first: int, last: int) -> str:
        entries = []
        for i in range(first, last + 1):
            pose = np.eye(4)
            pose[0, 3] = i
            entries.append({"frame_index": i, "camera_to_world": pose.ravel().tolist()})
        return json.dumps({"poses": entries})

    for first, last, x, said in ((0, 71, 5, None), (1, 72, 6, "from 1"), (0, 80, 5, "this video")):
        (tmp_path / "a.json").write_text(poses(first, last))
        placed, notes = poses_of(read_camera(tmp_path / "a.json")[0], VIDEO)
        assert placed.at(5, 0.0)[0, 3] == x
        assert len(notes) == (said is not None)
        assert said is None or said in notes[0]
    (tmp_path / "depth").mkdir()
    for i in range(1, 4):
        cv2.imwrite(str(tmp_path / f"depth/{i:04d}.png"), np.full((48, 64), 1000 * i, np.uint16))
    (tmp_path / "b.json").write_text(json.dumps({"depth": "depth"}))
    given = supplied(read_camera(tmp_path / "b.json")[1]).depth
    assert read_depth(given, 0, (64, 48), 72)[0, 0] == pytest.approx(1.0)


def test_poses_of_another_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of this video"):
        at(tum(UNIX + 9000), tmp_path / "a.txt", FOLDER, 0)


def test_a_video_that_starts_late_gets_its_poses(tmp_path: Path) -> None:
    """Each analysed frame has the pose of its time since the first; a missing one is said."""
    noise = np.random.default_rng(0).integers(0, 255, (6, 12, 3), dtype=np.uint8)
    wide = cv2.resize(noise, (400, 96), interpolation=cv2.INTER_CUBIC)
    with av.open(str(tmp_path / "late.ts"), "w") as out:
        stream = out.add_stream("mpeg2video", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(36):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(wide[:, 3 * i : 3 * i + 160]), "rgb24"
            )
            frame.pts = 35 + i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    (tmp_path / "poses.txt").write_text("\n".join(tum(0).split("\n")[:25]))
    out = tmp_path / "ds"
    asked = ["--signals", "frames.camera_to_world", "--fps", "4", "--profile", "embedded"]
    given = ["--camera", str(tmp_path / "poses.txt")]
    assert cli.run(["process", str(tmp_path / "late.ts"), "--out", str(out), *given, *asked]) == 0
    dataset = open_dataset(out)
    rows = dataset.arrow("frames", columns=["pts", "camera_to_world"]).to_pylist()
    start = rows[0]["pts"]
    assert start > 1
    found = [r["camera_to_world"] and r["camera_to_world"][3] for r in rows]
    assert found[:4] == pytest.approx([0, 0.25, 0.5, 0.75], abs=0.01)
    assert found[-1] is None
    (warnings,) = dataset.arrow("videos", columns=["warnings"])["warnings"].to_pylist()
    assert any("no pose near" in w for w in warnings)
