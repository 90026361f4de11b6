"""Every broken source through the real command line: one line each, the others whole."""

import json
import re
import sys
from pathlib import Path

import pytest
import toys

from stpe import cli
from stpe.dataset.reader import open_dataset
from stpe.pipeline import run
from stpe.stages import registry
from stpe.video.limits import Limits

sys.path.append(str(Path(__file__).parents[1] / "video"))
from malformed import malformed

#: Quick ones are enough: what is tested is what becomes of the sources.
STAGES = (toys.Brightness, toys.Smooth, toys.Shots, toys.Things)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """All cases in one call: (cases, exit code, JSON, stderr, dataset folder)."""
    patch = pytest.MonkeyPatch()
    patch.setattr(registry, "STAGES", STAGES)
    folder = tmp_path_factory.mktemp("malformed")
    out = tmp_path_factory.mktemp("out")
    with malformed(folder) as found, patch.context() as context:
        # One folder of frames, which this is not; the command takes both sequences.
        cases = [case for case in found if case.name != "folder_of_sequences"]
        good = toys.write_clip(out / "good.mp4", 3)
        streams = {name: (out / name).open("w+") for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            context.setattr(sys, name, stream)
        hasty = Limits(isolated=True, connect_timeout_s=0.3, read_timeout_s=0.3)
        context.setattr(run, "_ISOLATED", hasty)
        sources = [*(case.source for case in cases), str(good)]
        code = cli.run(["process", *sources, "--out", str(out / "ds"), "--json"])
        texts = {}
        for name, stream in streams.items():
            stream.seek(0)
            texts[name] = stream.read()
    patch.undo()
    return cases, code, json.loads(texts["stdout"]), texts["stderr"], out / "ds"


def test_each_source_ends_as_it_must(outcome):
    cases, code, result, _, _ = outcome
    assert len(cases) >= 40
    assert code == 3
    got = {v["uri"]: v for v in result["videos"]}
    wrong = [
        (case.name, case.expect, got[case.source]["status"], got[case.source]["error"])
        for case in cases
        if (got[case.source]["status"] == "failed") != (case.expect == "error")
    ]
    assert not wrong
    assert result["videos"][-1]["status"] == "done", "a good source suffered from bad ones"
    unforeseen = [v["error"] for v in result["videos"] if "unexpected" in (v["error"] or "")]
    assert not unforeseen


def test_errors_are_one_line_each_without_a_traceback(outcome):
    _, _, result, stderr, _ = outcome
    failed = [v for v in result["videos"] if v["status"] == "failed"]
    assert "Traceback" not in stderr
    lines = re.findall(r"^stpe: error: (.*)$", stderr, re.MULTILINE)
    assert len(lines) == len(failed)
    for line, video in zip(lines, failed, strict=True):
        assert video["uri"] in line
        assert len(line) < len(video["uri"]) + 300


def test_the_dataset_holds_whole_videos_only(outcome):
    _, _, result, _, folder = outcome
    whole = {v["video_id"] for v in result["videos"] if v["status"] != "failed"}
    dataset = open_dataset(folder)
    assert set(dataset.videos) == whole
    for video in dataset.arrow("videos").to_pylist():
        index = dataset.arrow("transitions", video["video_id"])["frame_index"].to_pylist()
        assert index == list(range(video["frame_count"]))
    for table in ("frames", "transitions", "shots", "artifacts"):
        assert set(dataset.arrow(table)["video_id"].to_pylist()) == whole
