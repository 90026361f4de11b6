"""What a newcomer types first, and what is said back."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

import stpe
from stpe.cli import run
from stpe.console import Lines, plan_table
from stpe.dataset import DatasetWriter, open_dataset
from stpe.engine import Engine
from stpe.pipeline.estimate import describe
from stpe.pipeline.report import VideoReport
from stpe.signals import schema
from stpe.video.frame import SourceInfo

IDS = ("aa11" * 4, "aa22" * 4, "bb33" * 4)
#: Hashes of the videos' state logs; the first two have the same.
LOGS = ("c" * 64, "c" * 64, "d" * 64)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "ds"
    with DatasetWriter(path) as writer:
        for number, video_id in enumerate(IDS):
            rows = {
                "videos": [{"uri": f"a/long [name]/of a clip {number}.mp4", "sha256": video_id * 4,
                            "state_sha256": LOGS[number],
                            "duration_s": 2.0, "width": 64, "height": 48}],
                "frames": [{"frame_index": n, "pts": n / 2, "caption_brief": f"{n}"}
                           for n in range(4)],
            }  # fmt: skip
            writer.commit(video_id, "plan", {
                name: [pa.RecordBatch.from_pylist(made, schema=schema(name, made[0].keys()))]
                for name, made in rows.items()
            })  # fmt: skip
        artifact = path / "artifacts" / "00" / "00ff.arrow"
        artifact.parent.mkdir(parents=True)
        artifact.write_bytes(b"x" * 1000)
    return path


def test_the_package_runs_and_says_what_it_has(dataset: Path):
    asked = [sys.executable, "-m", "stpe", "--version"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert answer.stdout.split()[-1] == stpe.__version__
    assert {"Engine", "open_dataset", "open_source"} <= set(dir(stpe))
    assert repr(open_dataset(dataset)).endswith("ds': videos 3, frames 12)")


def test_ls_prints_ids_that_can_be_copied_whole(dataset: Path, capsys):
    assert run(["ls", str(dataset)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(IDS)
    assert "a/long [name]/of a clip 2.mp4" in lines[3]
    assert run(["ls", str(dataset), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["video_id"], row["frames"]) for row in rows] == [(name, 4) for name in IDS]


def test_inspect_lists_videos_and_shows_a_row_of_each_table(dataset: Path, capsys):
    run(["inspect", str(dataset), "--json"])
    # Their media are missing, which is a problem, and is said instead.
    assert "media are missing" in json.loads(capsys.readouterr().out)["problems"][0]
    for video_id in IDS:
        (dataset / "media").mkdir(exist_ok=True)
        (dataset / "media" / f"{video_id * 4}.mp4").touch()
    assert run(["inspect", str(dataset), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["video_id"] for row in found["listed"]] == list(IDS)
    assert found["samples"]["frames"]["caption_brief"] == "2"
    assert run(["inspect", str(dataset)]) == 0
    assert all(video_id in capsys.readouterr().out for video_id in IDS[:1])


def test_prune_and_remove_take_what_they_name_and_no_more(dataset: Path, capsys):
    media = dataset / "media"
    media.mkdir()
    logs = [f"{sha256}.json.gz" for sha256 in sorted(set(LOGS))]
    files = [*(f"{video_id * 4}.mp4" for video_id in IDS), *logs]
    for name in [*files, "e" * 64 + ".csv", "notes.txt"]:
        (media / name).write_bytes(b"x" * 10)
    assert run(["prune", str(dataset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": 2, "bytes": 1010}
    assert {path.name for path in media.iterdir()} == {*files, "notes.txt"}
    assert open_dataset(dataset).tables["frames"] == 12
    assert run(["remove", str(dataset), "aa"]) == 2
    assert "several videos begin with 'aa'" in capsys.readouterr().err
    assert run(["remove", str(dataset), "aa22", "bb"]) == 0
    left = open_dataset(dataset)
    assert (left.videos, left.tables["frames"]) == ((IDS[0],), 4)
    assert {path.name for path in media.iterdir()} == {files[0], logs[0], "notes.txt"}
    assert run(["prune", str(dataset.parent)]) == 1
    assert not (dataset.parent / "artifacts").exists()


def test_a_log_file_has_everything_and_a_device_that_is_none_is_refused(dataset: Path, capsys):
    log = dataset.parent / "stpe.log"
    assert run(["process", "no.mp4", "--out", str(dataset), "--device", "tpu", "--log-file",
                str(log)]) == 2  # fmt: skip
    assert "no device is called 'tpu'" in capsys.readouterr().err
    assert log.exists()


def test_progress_outside_a_terminal_is_short_and_counts_sources(monkeypatch):
    said = io.StringIO()
    lines = Lines(Console(file=said, width=80))
    monkeypatch.setattr("stpe.console._LINE_EVERY_S", 0.0)
    info = SourceInfo(uri="x" * 300 + "/clip.mp4", sha256="0", width=1, height=1, fps=1.0,
                      duration_s=10.0, kind="file", frame_count=None)  # fmt: skip
    shares = {f"stage_{n}": 1 / 22 for n in range(22)}
    lines.sources(7)
    lines.done(VideoReport("other.mp4", "id", "unchanged"))
    lines.source(info, shares)
    for stage in shares:
        lines.advance(stage, 5.0, False)
    first, *rest = said.getvalue().splitlines()
    assert first.startswith("1 of 7: other.mp4")
    assert all(line.startswith("2 of 7: ...") and len(line) < 100 for line in rest)
    assert rest[-1].split(": ")[-1].startswith("50%")


@pytest.mark.parametrize("terminal", [True, False])
def test_plan_prints_ids_whole_and_counts_work_beside_models(terminal: bool):
    info = SourceInfo(uri="clip.mp4", sha256="0", width=1280, height=720, fps=30.0,
                      duration_s=60.0, kind="file", frame_count=None)  # fmt: skip
    with Engine("embedded") as engine:
        document = describe(engine.plan(), info)
    known = sum(stage["seconds"] for stage in document["stages"])
    beside = document["seconds_beside"]
    assert set(beside) == {"starting", "decoding", "writing"}
    assert document["seconds"] == pytest.approx(known + sum(beside.values()))
    assert all(seconds > 0 for seconds in beside.values())
    assert {s["stage"]: s["seconds"] for s in document["stages"]}["camera"] > 0  # has no model
    said = io.StringIO()
    plan_table(Console(file=said, width=80, force_terminal=terminal, no_color=True), document)
    words = said.getvalue().replace(",", " ").split()
    for stage in document["stages"]:
        ids = [f"{role}={model}" for role, model in stage["models"].items()]
        assert {stage["stage"], *ids, *stage["reads"], *stage["writes"]} <= set(words)
    assert max(map(len, said.getvalue().splitlines()[:-6])) <= 80
