"""The command line's promises: exit codes, one JSON document, one-line errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import toys

from stpe import cli
from stpe.stages import registry


@pytest.fixture(autouse=True)
def toy_registry(monkeypatch):
    monkeypatch.setattr(registry, "STAGES", toys.STAGES)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    bad = folder / "bad.mp4"
    bad.write_bytes(b"no video at all")
    return [toys.write_clip(folder / f"{i}.mp4", 6, seed=i) for i in range(2)] + [bad]


def stpe(capsys, *arguments):
    code = cli.run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_several_sources_one_bad(clips, tmp_path, capsys):
    code, out, err = stpe(capsys, "process", *clips, "--out", tmp_path / "ds", "--json")
    assert code == 3
    result = json.loads(out)
    assert [v["status"] for v in result["videos"]] == ["done", "done", "failed"]
    assert err.count(f"stpe: error: {clips[2]}") == 1
    assert result["absent"]["deep"]
    code, out, err = stpe(capsys, "process", *clips[:2], "--out", tmp_path / "ds")
    assert (code, out) == (0, "")
    assert err.count("nothing to do") == 2
    code, _, err = stpe(capsys, "process", clips[2], "--out", tmp_path / "other")
    assert code == 1
    assert err.count(f"stpe: error: {clips[2]}") == 1


def test_the_summary_says_what_was_spent_and_what_is_absent(clips, tmp_path, capsys):
    code, _, err = stpe(capsys, "process", clips[0], "--out", tmp_path / "ds")
    assert code == 0
    for word in ("brightness", "s / video minute", "rows:", "absent: deep: ", "profile: "):
        assert word in err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--fps", "0"],
        ["--fps", "nan"],
        ["--fps", "soon"],
        ["--resolution", "1x2x3"],
        ["--resolution", "4x4"],
        ["--signals", "frames.nothing"],
        ["--signals", "clips.embedding"],
        ["--without", "nothing"],
        ["--model", "flow"],
        ["--model", "flow=nothing"],
        ["--model", "nothing=raft"],
        ["--profile", "nothing"],
        ["--workers", "0"],
        ["--nothing"],
    ],
    ids=lambda wrong: " ".join(wrong),
)
def test_wrong_use_is_two_and_touches_nothing(wrong, clips, tmp_path, capsys):
    code, out, err = stpe(capsys, "process", clips[0], "--out", tmp_path / "ds", *wrong)
    assert code == 2, err
    assert out == ""
    assert not (tmp_path / "ds").exists()


def test_only_the_wanted_signals_are_made_and_stored(clips, tmp_path, capsys):
    ds = tmp_path / "ds"
    options = ("--signals", "frames.shot_id,objects", "--without", "objects.track_id", "--json")
    code, out, _ = stpe(capsys, "process", clips[0], "--out", ds, *options)
    assert code == 0
    video = json.loads(out)["videos"][0]
    assert {s["name"] for s in video["stages"]} == {
        "smooth", "shots", "membership", "brightness", "things",
    }  # fmt: skip
    assert video["rows"].keys() == {"videos", "frames", "objects", "artifacts"}
    code, out, _ = stpe(capsys, "process", clips[0], "--out", ds, "--without", "shots", "--json")
    absent = json.loads(out)["absent"]
    assert absent["shots"] == "left out by --without"
    assert absent["membership"] == "needs shots.start_frame, which shots does not give"


def test_plan_says_what_would_run(clips, capsys):
    code, out, _ = stpe(capsys, "plan", clips[0], "--json", "--fps", "3")
    assert code == 0
    plan = json.loads(out)
    order = [stage["stage"] for stage in plan["stages"]]
    assert sorted(order) == sorted({s.name for s in toys.STAGES} - {"deep"})
    assert order.index("brightness") < order.index("things") < order.index("identities")
    assert order.index("shots") < order.index("membership") < order.index("summary")
    grids = {stage["stage"]: stage["grid"] for stage in plan["stages"]}
    assert grids["intervals"] == "motion 12 fps 64x48"
    assert "captioner" in plan["absent"]["deep"]
    code, out, _ = stpe(capsys, "plan", clips[0])
    assert code == 0
    assert "brightness v1" in out
    assert "absent: deep" in out


def test_a_locked_dataset_is_one_line(clips, tmp_path, capsys):
    from stpe.dataset.writer import DatasetWriter

    with DatasetWriter(tmp_path / "ds"):
        code, _, err = stpe(capsys, "process", clips[0], "--out", tmp_path / "ds")
    assert code == 1
    assert len([line for line in err.splitlines() if line.startswith("stpe: error")]) == 1


def test_the_installed_command_answers(tmp_path):
    command = [sys.executable, str(Path(toys.__file__)), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert "process" in done.stdout
