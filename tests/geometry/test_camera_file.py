"""What the user says of the camera: read, used in place of estimates, and checked by flow."""

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from stpe import cli
from stpe.dataset.reader import open_dataset
from stpe.errors import SourceError, UsageError
from stpe.geometry.intrinsics import intrinsics
from stpe.geometry.rotation import matrix_of
from stpe.geometry.supplied import supplied
from stpe.signals import schema
from stpe.stages.camera_check import CameraCheck
from stpe.stages.stage import Request, Span, Window
from stpe.state.camera_file import read_camera, read_depth
from stpe.video.frame import SourceInfo

K = {"fx": 100.0, "fy": 110.0, "cx": 50.0, "cy": 40.0}
ONLY = ("--fps", "native", "--profile", "embedded", "--without",
        "transitions.cut,transitions.gradual", "--signals",
        "motion,frames.camera_to_world,frames.geometric_depth,frames.geometric_unit,"
        "frames.camera_travel,videos.camera_check")  # fmt: skip


def pose(turn_deg=(0.0, 0.0, 0.0), place=(0.0, 0.0, 0.0)) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = matrix_of(np.radians(np.array(turn_deg))), place
    return found


def entry(number: int, matrix: np.ndarray, by: str = "frame_index") -> dict:
    return {by: number, "camera_to_world": matrix.ravel().tolist()}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_every_layout_gives_the_same_path(tmp_path: Path) -> None:
    path = [pose((0, 10 * i, 0), (i, 0, 2 * i)) for i in range(3)]
    listed = json.dumps({**K, "poses": [entry(i, p) for i, p in enumerate(path)]})
    scenes = "\n\n".join("\n".join(" ".join(map(str, row)) for row in p) for p in path)
    half = [np.radians(10 * i) / 2 for i in range(3)]
    tum = "# time place quaternion\n" + "\n".join(
        f"{100 + i / 10} {i} 0 {2 * i} 0 {np.sin(h)} 0 {np.cos(h)}" for i, h in enumerate(half)
    )
    realestate = "https://a.video/\n" + "\n".join(
        f"{i} 0.5 0.9 0.5 0.5 0 0 " + " ".join(map(str, np.linalg.inv(p)[:3].ravel()))
        for i, p in enumerate(path)
    )
    for name, text in {
        "a.json": listed,
        "a.txt": scenes,
        "b.txt": tum,
        "c.txt": realestate,
    }.items():
        document, images = read_camera(write(tmp_path / name, text))
        found = supplied(document).poses
        assert images == ""
        for i, true in enumerate(path):
            np.testing.assert_allclose(found.at(i, i / 10), true, atol=1e-9)
    camera = intrinsics(document, 200, 100)
    assert (camera.fx, camera.fy, camera.cx) == (100.0, 90.0, 100.0)
    timed = json.dumps({"poses": [entry(0, path[0], "pts"), entry(0.4, path[2], "pts")]})
    between = supplied(read_camera(timed)[0]).poses
    np.testing.assert_allclose(between.at(3, 0.2), path[1], atol=1e-9)
    assert between.at(9, 0.5) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ('{"fx": 1}', "fx, fy, cx, cy"),
        ('{"fx": -1, "fy": 1, "cx": 0, "cy": 0}', "must be positive"),
        ('{"focal": 3}', "unknown entries: focal"),
        (json.dumps({"poses": [entry(0, 2 * np.eye(4))]}), "pose 0 holds no rotation"),
        (json.dumps({"poses": [entry(0, np.eye(4)), entry(0, np.eye(4))]}), "same frame_index"),
        (json.dumps({"poses": [{"frame_index": 0}]}), "pose 0 wants"),
        (json.dumps({"depth": "nowhere"}), "holds no PNG"),
        ("1 2 3\n4 5 6\n", "no known layout"),
    ],
)
def test_an_impossible_camera_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_camera(write(tmp_path / "camera", text))
    with pytest.raises(UsageError, match="cannot read --camera"):
        read_camera(tmp_path / "none.json")


def test_depth_images_are_found_by_number_and_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    for number in (0, 10):
        cv2.imwrite(str(tmp_path / f"depth/frame-{number:06d}.png"),
                    np.array([[0, 1500]] * 2, np.uint16))  # fmt: skip
    file = write(tmp_path / "camera.json", json.dumps({"depth": "depth", "unit": "metres"}))
    document, images = read_camera(file)
    given = supplied(images).depth
    depth = read_depth(given, 10, (640, 640))
    assert np.isnan(depth[0, 0])
    assert depth[0, 1] == pytest.approx(1.5)
    assert read_depth(given, 5, (640, 640)) is None
    with pytest.raises(SourceError, match="video's shape"):
        read_depth(given, 10, (640, 360))
    cv2.imwrite(str(tmp_path / "depth/frame-000010.png"), np.array([[0, 2500]] * 2, np.uint16))
    assert read_camera(file)[0] != document
    assert supplied(document).numbers is None


def test_right_and_wrong_cameras_of_a_real_clip(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = shared_data / "realestate10k_clips" / "0bf152ef84195293.mp4"
    right = json.loads(read_camera(clip.with_suffix(".txt"))[0])
    poses = [np.array(p["camera_to_world"]).reshape(4, 4) for p in right["poses"]]

    def run(name: str, camera: Path) -> tuple[dict, dict, str]:
        out = tmp_path / "ds"
        given = ["--camera", str(camera), "--replace"]
        code = cli.run(["process", str(clip), "--out", str(out), *given, *ONLY])
        err = capsys.readouterr().err
        assert code == 0, err
        dataset = open_dataset(out)
        check = dataset.arrow("videos", columns=["camera_check"])["camera_check"][0].as_py()
        tables = {t: dataset.arrow(t).to_pydict() for t in ("frames", "motion")}
        return json.loads(check), tables, err

    check, tables, err = run("right", clip.with_suffix(".txt"))
    assert (check["verdict"], check["warnings"]) == ("agrees", [])
    assert "warning" not in err
    found = np.array(tables["frames"]["camera_to_world"]).reshape(-1, 4, 4)
    np.testing.assert_allclose(found, poses, atol=1e-4)
    travel = tables["frames"]["camera_travel"][1:]
    true = [(np.linalg.inv(a) @ b)[:3, 3] for a, b in pairwise(poses)]
    np.testing.assert_allclose(travel, true, atol=1e-4)
    trusted = np.median(tables["motion"]["camera_confidence"])

    inverted = {**right, "poses": [entry(i, np.linalg.inv(p)) for i, p in enumerate(poses)]}
    check, tables, err = run("inverted", write(tmp_path / "w.json", json.dumps(inverted)))
    assert check["verdict"] == "contradicted"
    assert "flow contradicts the poses of --camera" in err
    assert np.median(tables["motion"]["camera_confidence"]) < 0.5 * trusted

    size = {"fx": 384 * right["fx"], "fy": 256 * right["fy"], "cx": 192, "cy": 128}
    short = {**size, "fx": 0.6 * size["fx"], "fy": 0.6 * size["fy"]}
    check, _, err = run("short", write(tmp_path / "s.json", json.dumps(short)))
    assert check["focal_fits"] is False
    assert "1.67 times the focal length of --camera fits the flow better" in err


@pytest.mark.parametrize(("given", "verdict"), [("depth", "agrees"), ("disparity", "contradicted")])
def test_depth_images_against_parallax(given: str, verdict: str) -> None:
    """Each frame in its own scale, as triangulation has it."""
    true = np.linspace(1.0, 9.0, 48)
    images = true if given == "depth" else 1 / true
    row = {"depth_shape": [6, 8], "geometric_depth_shape": [6, 8]}
    row |= {"geometric_depth_confidence": np.ones(48, "f2")}
    rows = [
        {"frame_index": i, "pts": i / 2, "depth": images.astype("f2")}
        | {"geometric_depth": ((1 + i) * true).astype("f2"), **row}
        for i in range(3)
    ]
    columns = [s.split(".")[1] for s in CameraCheck.optional]
    tables = {
        "frames": pa.Table.from_pylist(rows, schema("frames", columns)),
        "motion": pa.Table.from_pylist([], schema("motion", ["pose_agreement", "focal_costs"])),
    }
    source = SourceInfo("a.mp4", "file", "0" * 64, 64, 48, 30.0, 2.0, 60)
    known = {"folder": "", "scale": 1.0, "files": {"0": "0.png"}, "sha256": ""}
    stage = CameraCheck({}, Request(camera=json.dumps({"depth": known})))
    found = stage.process(Window(source, Span(0, 0.0, 2.0, True), rows=tables)).tables["videos"]
    document = json.loads(found["camera_check"][0].as_py())
    assert document["verdict"] == verdict
    assert (document["depth_error"] < 0.01) is (given == "depth")
