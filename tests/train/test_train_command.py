"""`stpe train` on datasets as they are stored."""

import json

import numpy as np
import pyarrow as pa
import pytest

from stpe.cli import run
from stpe.dataset.writer import DatasetWriter
from stpe.signals import schema

pytest.importorskip("torch", reason="the train extra is not installed")


def write(path, videos, alignment="frame"):
    """Videos of a player who turns and walks; the camera's rotation is seen, objects grow."""
    with DatasetWriter(path) as writer:
        for number in range(videos):
            rng = np.random.default_rng(number)
            turn = np.convolve(rng.normal(0, 20, 44), np.ones(4) / 4, "valid")[:40]
            angle = np.cumsum(turn)
            frames, objects = [], []
            for i in range(40):
                state = {
                    "game": "doom",
                    "health": 100.0,
                    "player": {"position": [4.0 * i, float(rng.normal()), 0.0],
                               "velocity": [16.0, 0.0, 0.0], "angle_deg": angle[i] % 360},
                }  # fmt: skip
                row = {"frame_index": i, "pts": i / 4, "state": json.dumps(state)}
                row |= {"alignment": alignment, "camera_confidence": 0.9}
                row["camera_rotation_deg"] = [0.0, -float(turn[i]), 0.0] if i else None
                frames.append(row)
                box = [10.0, 10.0, 20.0 + i, 20.0 + i]
                objects.append(
                    {
                        "frame_index": i,
                        "object_id": 0,
                        "pts": i / 4,
                        "label": "person",
                        "area_px": (10.0 + i) ** 2,
                        "box_xyxy": box,
                        "track_id": 1,
                        "motion": "moving",
                        "object_velocity_px_s": [4.0, 4.0],
                    }
                )
            facts = {"uri": f"{number}.mp4", "width": 64, "height": 48, "frame_count": 40}
            rows = {"videos": [facts], "frames": frames, "objects": objects}
            tables = {
                name: pa.Table.from_pylist(found, schema(name)).to_batches()
                for name, found in rows.items()
            }
            writer.commit(f"video{number}", "made", tables)


def test_the_report_names_groups_parts_and_what_is_missing(tmp_path, capsys):
    write(tmp_path / "ds", 4)
    out = tmp_path / "report.md"
    assert run(["train", str(tmp_path / "ds"), "--json", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [g["name"] for g in told["probe"]["groups"]] == [
        "camera", "objects", "object_motion", "tracks", "all",
    ]  # fmt: skip
    assert told["probe"]["parts"] == ["forward", "left", "turn"]
    assert told["probe"]["episodes"] == 4
    assert told["temporal"] is None
    assert "needs 4" in told["skipped"]["temporal module"]
    assert "| object_motion | 10 |" in out.read_text()


def test_wrong_use_is_one_line(tmp_path, capsys):
    assert run(["train", str(tmp_path / "none")]) == 1
    write(tmp_path / "ds", 1)
    assert run(["train", str(tmp_path / "ds")]) == 2
    assert "the probe needs 4" in capsys.readouterr().err


def test_a_video_that_stands_in_several_datasets_counts_once(tmp_path, capsys):
    write(tmp_path / "ds", 1, "unverified")
    assert run(["train", *[str(tmp_path / "ds")] * 4]) == 2
    said = capsys.readouterr().err
    assert said.count("ds/video0 was read before; a video counts once") == 3
    assert "1 of 1 videos have" in said
    assert "warning: the state logs of 1 of 1 videos are unverified (ds/video0): " in said
