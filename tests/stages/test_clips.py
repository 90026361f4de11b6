"""The clips stage: even pieces without gaps, named by their first frame."""

import numpy as np
import pytest

from stpe.models import loader
from stpe.models.backends.openvino.i3d import class_confidence
from stpe.models.notes import noted
from stpe.pipeline.sampling import Sampling
from stpe.signals import schema
from stpe.stages import registry
from stpe.stages.clips import COLUMNS, Clips
from stpe.stages.stage import Request, Span, Window
from stpe.video.frame import Frame, SourceInfo

INFO = SourceInfo("v", "file", "0", 320, 180, 25.0, 20.0, 500)

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def stage():
    model = loader.load(loader.resolve("embedded").models["clip_classifier"])
    return Clips({"clip_classifier": model}, Request())


def run(stage, count, last=False):
    image = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
    frames = tuple(Frame(100 + 2 * i, 4.0 + i / 12.5, image) for i in range(count))
    window = Window(INFO, Span(1, 4.0, 4.0 + count / 12.5, last), frames, 0, count)
    table = stage.process(window).tables["clips"]
    assert table.schema == schema("clips", COLUMNS)
    return table.to_pylist()


def test_a_chunk_is_cut_evenly_and_whole(stage):
    first, second = run(stage, 70)
    assert (first["clip_id"], second["clip_id"]) == (100, 170)
    assert (first["start_pts"], first["end_pts"]) == (4.0, second["start_pts"])
    assert abs(second["end_pts"] - (4.0 + 70 / 12.5)) < 1e-9
    assert abs(np.linalg.norm(first["embedding"]) - 1) < 1e-3
    best = first["classes"]
    assert len(best) == 5
    assert best[0]["confidence"] >= best[1]["confidence"] > 0
    assert first["class_confidence"] < 0.1  # noise shows no action


def test_what_shows_no_action_is_not_believed_to(stage):
    """A made-up game: a player among tiles, the view moving on. Neither is softmax asked."""
    rng = np.random.default_rng(4)
    tiles = rng.integers(40, 200, (40, 80, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    images = []
    for i in range(32):
        view = tiles[60 + i : 240 + i, 6 * i : 6 * i + 320].copy()
        view[70 + 10 * (i % 3) : 110, 150:175] = (220, 60, 40)
        view[:14] = 10
        images.append(view)
    frames = tuple(Frame(2 * i, i / 12.5, image) for i, image in enumerate(images))
    (row,) = (
        stage.process(Window(INFO, Span(0, 0, 2.56), frames, 0, 32)).tables["clips"].to_pylist()
    )
    assert row["class_confidence"] < 0.5
    # Largest logits of real clips: a roller coaster "windsurfing", a man juggling a ball.
    assert class_confidence(23.7, 0.985) < 0.1
    assert class_confidence(36.0, 0.982) < 0.5  # people in a street, "playing ice hockey"
    assert class_confidence(43.5, 0.999) > 0.8


def test_what_is_too_short_to_show_motion_has_no_clip(stage):
    with noted() as notes:
        assert run(stage, 10, last=True) == []
        assert run(stage, 0, last=True) == []
        assert len(run(stage, 11)) == 1
    assert not notes
    with noted() as notes:
        assert run(stage, 10) == []
    assert "fewer than the 11 frames of a clip" in notes[0]


@pytest.mark.parametrize(("fps", "seconds"), [(2.0, 16.0), (20.0, 1.6), (60.0, 1.0), (None, 1.0)])
def test_a_chunk_is_long_enough_for_a_clip_at_any_rate(fps, seconds):
    source = SourceInfo("v", "file", "0", 320, 180, 60.0, 20.0, 1200)
    grids = [stage.grid for stage in registry.STAGES if stage.grid is not None]
    assert Sampling(fps=fps).chunk_s(source, grids) == pytest.approx(seconds)
