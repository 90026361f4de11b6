"""The scorecard of datasets that say the truth, and of ones that do not."""

import json

import numpy as np
import oracle
import pytest

from stpe.cli import run
from stpe.dataset.reader import open_dataset
from stpe.dataset.writer import DatasetWriter
from stpe.errors import TruthError, UsageError
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.report import card_lines
from stpe.evaluate.run import evaluate_dataset
from stpe.evaluate.scorecard import evaluate
from stpe.evaluate.stored import load


@pytest.fixture(scope="module")
def truth(episode):
    return read_truth(episode)


@pytest.fixture(scope="module")
def perfect(episode, truth, tmp_path_factory):
    """A dataset that says what is true, and its scorecard."""
    path = tmp_path_factory.mktemp("perfect") / "ds"
    oracle.write(
        path,
        episode / "episode.mp4",
        truth,
        oracle.true_objects(truth),
        oracle.true_motion(truth, (320, 240)),
        oracle.true_depth(truth, "metres"),
        alignment={"verdict": "aligned", "lag_ms": 4.0, "interval_ms": [-1.0, 9.0], "method": "x"},
    )
    return path, evaluate_dataset(path, episode)


def scored(tmp_path, episode, truth, **parts):
    video = oracle.write(tmp_path / "ds", episode / "episode.mp4", truth, **parts)
    return evaluate(open_dataset(tmp_path / "ds"), video, truth)


def test_the_truth_scores_full_marks(perfect):
    _, done = perfect
    best = {
        "objects.box_xyxy AP, class-agnostic": 1,
        "objects.track_id HOTA": 1,
        "objects.track_id MOTA": 1,
        "objects.track_id IDF1": 1,
        "objects.mask_rle J, best instance": 1,
        "objects.mask_rle F, best instance": 1,
        "objects.mask_rle J, one track": 1,
        "objects.motion macro F1": 1,
        "motion.flow EPE": 0,
        "motion.flow Fl outliers": 0,
        "motion.camera_rotation_deg rotation error, median": 0,
        "motion.camera_translation direction error, median": 0,
        "frames.depth AbsRel": 0,
        "frames.depth delta < 1.25": 1,
        "videos.alignment lag error": 4,
    }
    for name, value in best.items():
        row = done.card.row(name)
        assert row is not None, name
        assert row.value == pytest.approx(value, abs=2e-3 if "EPE" not in name else 0.02), name
        assert row.n > 0
    assert done.card.row("frames.depth AbsRel").note == "in metres, nothing fitted"
    assert "holds the true lag" in done.card.row("videos.alignment lag error").note


def test_baselines_stand_beside_and_intervals_hold_the_value(perfect):
    card = perfect[1].card
    rotation = card.row("motion.camera_rotation_deg rotation error, median")
    assert rotation.baseline_name == "static camera"
    assert rotation.baseline_gain_interval[0] > 0
    assert card.row("motion.flow EPE").baseline > 1
    for row in card.rows:
        if row.interval is not None:
            assert row.interval[0] <= row.value <= row.interval[1]
    assert card.unscored["shots"].startswith("the dataset has no")
    assert card.unscored["trajectory"].startswith("the dataset has no")


def test_the_gist_names_metrics_that_exist(perfect):
    card = perfect[1].card
    lines = "\n".join(card_lines(card, gist=True))
    assert len(lines.splitlines()) < len(card_lines(card))
    for metric in ("HOTA", "J, best instance", "EPE", "rotation error, median", "macro F1"):
        assert metric in lines
    assert "DetA" not in lines


def test_spoilt_signals_score_what_they_should(tmp_path, episode, truth):
    """Half of the boxes gone, one identity for two halves, flow off by (3, 4) px, 2 deg of yaw."""
    objects = oracle.true_objects(truth)
    for row in objects:
        row["track_id"] += 1000 * (row["frame_index"] >= 50)
        row["motion"] = "static"
        row["confidence"] = 0.6
    kept = [row for number, row in enumerate(objects) if number % 2 == 0]
    motion = oracle.true_motion(truth, (320, 240))
    for row in motion:
        off = row["flow"].reshape(-1, 2) + np.array([3.0, 4.0])
        row["flow"] = off.ravel().astype(np.float16)
        row["camera_rotation_deg"] = row["camera_rotation_deg"] + np.array([0, 2.0, 0])
    card = scored(tmp_path, episode, truth, objects=kept, motion=motion)
    share = len(kept) / len(objects)
    assert card.row("objects.box_xyxy recall at 0.5").value == pytest.approx(share, abs=1e-3)
    assert card.row("objects.box_xyxy precision at 0.5").value == 1
    assert card.row("objects.mask_rle J, best instance").value == pytest.approx(share, abs=0.03)
    assert card.row("objects.track_id MOTA").value < share
    assert card.row("objects.track_id AssA").value < 0.7
    assert card.row("objects.motion macro F1").value < 0.6
    assert card.row("objects.motion F1 of moving").value == 0
    assert card.row("motion.flow EPE").value == pytest.approx(5, abs=0.05)
    rotation = card.row("motion.camera_rotation_deg rotation error, median")
    assert rotation.value == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("changed", "same"), [(52, False), (12, True)])
def test_identities_are_judged_where_chunks_meet(tmp_path, episode, truth, changed, same):
    """Every identity changes at one frame: at the border it shows, far from it it does not."""
    objects = oracle.true_objects(truth)
    for row in objects:
        row["track_id"] += 1000 * (row["frame_index"] >= changed)
    card = scored(tmp_path, episode, truth, objects=objects, border=55)
    assert card.row("objects.track_id HOTA").value < 1
    at_border = card.row("objects.track_id HOTA at chunk borders")
    assert (at_border.value == 1) == same
    assert "within 1 s" in at_border.note


def test_finding_nothing_is_scored_and_not_looking_is_not(tmp_path, episode, truth):
    card = scored(tmp_path, episode, truth, ran=("objects", "tracks"))
    assert card.row("objects.box_xyxy recall at 0.5").value == 0
    assert card.row("objects.box_xyxy AP, class-agnostic").value == 0
    assert card.row("objects.mask_rle J, best instance").value == 0
    assert card.row("objects.track_id HOTA").value == 0
    assert "motion" in card.unscored


def test_relative_depth_is_fitted_and_said_to_be(tmp_path, episode, truth):
    frames = oracle.true_depth(truth, "relative")
    card = scored(tmp_path, episode, truth, frames=frames)
    row = card.row("frames.depth AbsRel")
    assert row.value < 0.02
    assert row.note == "scale and shift fitted a frame"
    assert row.baseline > 0.1


@pytest.mark.parametrize(("scale", "note"), [(4.0, "nothing fitted"), (None, "one scale fitted")])
def test_the_path_and_triangulated_depth(tmp_path, episode, truth, scale, note):
    card = scored(tmp_path, episode, truth, frames=oracle.true_geometry(truth, scale))
    depth = card.row("frames.geometric_depth AbsRel")
    assert depth.value < 0.005
    assert note in depth.note
    assert card.row("frames.geometric_depth share known").value == pytest.approx(2 / 3, abs=0.02)
    path = card.row("frames.camera_to_world ATE, RMSE")
    assert path.value < 1e-3 < path.baseline
    assert path.unit == "m"


def test_a_log_scale_that_is_wrong_shows(tmp_path, episode, truth):
    frames = oracle.true_geometry(truth, 4.0)
    for row in frames:
        row["geometric_scale"] *= 1.5
        row["camera_to_world"][[3, 7, 11]] *= 1.5
    card = scored(tmp_path, episode, truth, frames=frames)
    assert card.row("frames.geometric_depth AbsRel").value == pytest.approx(0.5, abs=0.01)
    assert card.row("frames.camera_to_world ATE, RMSE").value > 0.1


def test_depth_the_wrong_way_round_is_no_better_than_a_wall(tmp_path, episode, truth):
    frames = oracle.true_depth(truth, "relative")
    for row in frames:
        row["depth"] = (5 - row["depth"]).astype(np.float16)
    row = scored(tmp_path, episode, truth, frames=frames).row("frames.depth AbsRel")
    assert row.value == pytest.approx(row.baseline, abs=1e-3)


def test_shots_and_lag(tmp_path, episode, truth):
    cut = {"start_frame": 60, "transition": "cut", "confidence": 0.9, "shot_id": 1}
    start = {"start_frame": 0, "transition": "start", "confidence": 1.0, "shot_id": 0}
    card = scored(
        tmp_path,
        episode,
        truth,
        shots=[start, cut],
        alignment={"verdict": "aligned", "lag_ms": -30.0, "interval_ms": None, "method": "clock"},
    )
    assert card.row("shots.start_frame precision").value == 0
    assert card.row("shots.start_frame recall").value is None
    assert card.row("videos.alignment lag error").value == 30
    assert card.row("videos.alignment lag error").interval is None


def test_the_card_is_stored_whole_and_the_same_again(perfect, episode):
    path, done = perfect
    before = done.json.read_bytes(), done.page.read_bytes()
    assert load(done.json).rows == done.card.rows
    again = evaluate_dataset(path, episode)
    assert (again.json.read_bytes(), again.page.read_bytes()) == before
    assert [p.name for p in done.json.parent.iterdir() if p.name.startswith(".")] == []


def test_the_page_needs_nothing_else_and_shows_the_worst_moments(tmp_path, episode, truth):
    objects = [r for r in oracle.true_objects(truth) if r["frame_index"] != 40]
    motion = oracle.true_motion(truth, (320, 240))
    oracle.write(tmp_path / "ds", episode / "episode.mp4", truth, objects, motion)
    text = evaluate_dataset(tmp_path / "ds", episode).page.read_text()
    assert len(text) < 1_000_000
    assert "http:" not in text.replace("http://www.w3.org", "")
    assert "https:" not in text
    for forbidden in ("<script", "<link", "@import", "url("):
        assert forbidden not in text
    assert "data:image/jpeg;base64," in text
    assert "frame 40" in text
    assert "Calibration error" in text
    assert "static camera" in text


def test_raw_confidence_is_judged_beside_the_calibrated(tmp_path, episode, truth):
    objects = oracle.true_objects(truth)
    for row in objects:
        row["confidence"], row["confidence_raw"] = 0.95, 0.4
    card = scored(tmp_path, episode, truth, objects=objects)
    trust = {t.signal: t for t in card.trust}
    assert trust["objects.box_xyxy"].reliability.ece == pytest.approx(0.05, abs=1e-6)
    assert trust["objects.box_xyxy"].raw_ece == pytest.approx(0.6, abs=1e-6)


def test_command_line(perfect, episode, capsys):
    path, _ = perfect
    assert run(["evaluate", str(path), "--truth", str(episode)]) == 0
    out = capsys.readouterr()
    assert "HOTA" in out.out
    assert "page: " in out.out
    assert run(["evaluate", str(path), "--truth", str(episode / "truth"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["truth_kind"] == "simulator"
    assert {"signal", "metric", "value", "interval", "n", "better"} <= document["rows"][0].keys()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{ds}"], 2, "--truth"),
        (["{ds}", "--truth", "{tmp}/none"], 1, "does not exist"),
        (["{ds}", "--truth", "{ds}"], 1, "no ground truth"),
        (["{tmp}", "--truth", "{ep}"], 1, "not a dataset"),
        (["{ds}", "--truth", "{ep}", "--video", "nope"], 2, "no video"),
        (["{ds}", "{tmp}", "--truth", "{ep}"], 2, "neither a dataset"),
        (["{ds}", "{tmp}/bad.json"], 2, "not a scorecard"),
    ],
)
def test_wrong_use_is_one_clear_line(perfect, episode, tmp_path, capsys, arguments, code, message):
    (tmp_path / "bad.json").write_text("{}")
    places = {"ds": perfect[0], "tmp": tmp_path, "ep": episode}
    assert run(["evaluate", *(a.format(**places) for a in arguments)]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_truth_of_another_video_and_truth_of_nothing(tmp_path, perfect, episode, truth):
    flow = b"PIEH" + np.array([8, 6], "<i4").tobytes() + np.zeros((6, 8, 2), "<f4").tobytes()
    (tmp_path / "a.flo").write_bytes(flow)
    with pytest.raises(TruthError, match="another video"):
        evaluate_dataset(perfect[0], tmp_path / "a.flo")
    (tmp_path / "cuts.json").write_text('{"cuts": [30]}')
    with pytest.raises(TruthError, match="scores no signal"):
        evaluate_dataset(perfect[0], tmp_path / "cuts.json")


def test_several_videos_need_a_choice(tmp_path, episode, truth, perfect):
    path = tmp_path / "ds"
    video = oracle.write(path, episode / "episode.mp4", truth, oracle.true_objects(truth))
    with DatasetWriter(path) as writer:
        writer.commit("0" * 16, "x", {})
    with pytest.raises(UsageError, match="--video"):
        evaluate_dataset(path, episode)
    assert evaluate_dataset(path, episode, video).card.video_id == video
