"""The demo, and what README.md and docs/actions.md tell the reader to type, on the demo's clip."""

import shutil

import numpy as np
import pytest

from pages import blocks, commands
from stpe import open_dataset
from stpe.cli import run as stpe
from stpe.demo import run
from stpe.errors import UsageError

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    pytest.importorskip("vizdoom")
    out = tmp_path_factory.mktemp("newcomer") / "demo"
    return out, run(out, seconds=1.0)


@pytest.fixture(scope="module")
def desk(demo):
    """A folder with the files that the pages name, and datasets with the clip's artifacts."""
    out, report = demo
    (video_id,) = open_dataset(out).videos
    for name in ("ds", "game"):
        shutil.copytree(out, out.parent / name)
        shutil.rmtree(out.parent / name / "recording")
        assert stpe(["remove", str(out.parent / name), video_id]) == 0
    for name in ("clip.mp4", "game.mp4"):
        shutil.copy(report.recording / "episode.mp4", out.parent / name)
    shutil.copy(report.recording / "state.jsonl", out.parent / "log.jsonl")
    shutil.copytree(report.recording, out.parent / "recording")
    return out.parent


def test_demo_makes_everything_and_does_nothing_the_second_time(demo):
    out, first = demo
    for path in first.files.values():
        assert path.stat().st_size > 1000
    assert {"video", "sheet"} <= first.files.keys()
    assert open_dataset(out).tables["frames"] == 2
    assert first.summary
    assert str(out) in "\n".join(first.lines())
    assert "state log        unverified, by frame" in first.lines()[2]  # a second proves nothing
    assert first.card.row("motion.camera_rotation_deg rotation error, median").n > 1
    assert str(first.page) in first.lines()[-1]
    assert "<svg" in first.page.read_text()
    again = run(out, seconds=1.0)
    assert again.result.videos[0].status == "unchanged"
    with pytest.raises(UsageError, match="another recording"):
        run(out, seconds=1.0, seed=5)


def test_the_readme_runs_as_it_is_written(desk, monkeypatch):
    monkeypatch.chdir(desk)
    ran = []
    for words in commands("README.md"):
        if words[0] in ("train", "serve"):  # the page says what they need
            continue
        if words[:2] == ["process", "game.mp4"]:  # the same clip: spare the models a second look
            shutil.copytree(desk / "ds/artifacts", desk / "game/artifacts", dirs_exist_ok=True)
        assert stpe(words) == 0, words
        ran.append(words[0])
    assert ran[:1] == ["process"]
    assert {"plan", "inspect", "ls", "search", "export", "evaluate"} <= set(ran)
    assert (desk / "annotated.mp4").stat().st_size > 1000
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    there = {"image_a_HW3": images[0], "image_b_HW3": images[1]}
    for code in blocks("README.md", "python"):
        if "import torch" in code or "torch.utils" in code:
            pytest.importorskip("torch")
        exec(code.replace("length=16", "length=2"), there)  # the clip has two analysed frames
    assert there["flow_HW2"].shape == (64, 64, 2)
    assert there["batch"]["objects.box_xyxy"].shape[:2] == (1, 2)


def test_actions_run_as_they_are_written(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    for words in commands("docs/actions.md"):
        assert stpe(words) == 0, words
    for code in blocks("docs/actions.md", "python"):
        capsys.readouterr()
        exec(code, {})
    said = capsys.readouterr().out
    assert "TURN_LEFT" in said
    assert "16, 480, 640, 3" in said
