"""B against A: better, worse, not told apart, lost."""

import json

import numpy as np
import oracle
import pytest

from stpe.cli import run
from stpe.dataset.writer import DatasetWriter
from stpe.errors import UsageError
from stpe.evaluate.compare import compare
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.run import compare_paths, evaluate_dataset


@pytest.fixture(scope="module")
def pair(episode, tmp_path_factory):
    """(good, spoilt) datasets: the second's flow is off by 2 px, its boxes are the same."""
    truth = read_truth(episode)
    folder = tmp_path_factory.mktemp("pair")
    objects = oracle.true_objects(truth)
    for name, off in (("good", 0.0), ("spoilt", 2.0)):
        motion = oracle.true_motion(truth, (320, 240))
        for row in motion:
            row["flow"] = (row["flow"] + off).astype(np.float16)
        oracle.write(folder / name, episode / "episode.mp4", truth, objects, motion)
        evaluate_dataset(folder / name, episode)
    return folder / "good", folder / "spoilt"


def verdicts(found):
    return {d.name: d.verdict for d in found.differences}


def test_worse_better_and_same(pair):
    good, spoilt = pair
    found = compare_paths(good, spoilt)
    assert found.worse
    assert verdicts(found)["motion.flow EPE"] == "worse"
    assert verdicts(found)["objects.track_id HOTA"] == "same"
    back = compare_paths(spoilt, good)
    assert not back.worse
    assert verdicts(back)["motion.flow EPE"] == "better"
    assert set(verdicts(compare_paths(good, good)).values()) <= {"same", "unknown"}


def test_a_lost_signal_is_worse_and_a_new_one_is_not(pair, episode, tmp_path):
    truth = read_truth(episode)
    oracle.write(
        tmp_path / "ds",
        episode / "episode.mp4",
        truth,
        motion=oracle.true_motion(truth, (320, 240)),
    )
    found = compare_paths(pair[0], tmp_path / "ds", episode)
    assert verdicts(found)["objects.track_id HOTA"] == "lost"
    assert found.worse
    back = compare_paths(tmp_path / "ds", pair[0], episode)
    assert verdicts(back)["objects.track_id HOTA"] == "new"
    assert not back.worse


def test_exit_code_and_json(pair, capsys):
    good, spoilt = pair
    cards = [str(next((path / "evaluation").glob("*.json"))) for path in pair]
    assert run(["evaluate", *cards]) == 1
    assert "B against A: " in capsys.readouterr().out
    assert run(["evaluate", str(spoilt), str(good), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["worse"] is False
    assert {"name", "a", "b", "difference", "interval", "verdict"} <= document["differences"][
        0
    ].keys()


def test_other_videos_and_unscored_datasets_are_refused(pair, episode, tmp_path):
    from dataclasses import replace

    from stpe.evaluate.stored import load

    card = load(next((pair[0] / "evaluation").glob("*.json")))
    with pytest.raises(UsageError, match="different videos"):
        compare(card, replace(card, video_id="0" * 16))
    with pytest.raises(UsageError, match="different truth"):
        compare(card, replace(card, truth_kind="mot"))
    truth = read_truth(episode)
    oracle.write(tmp_path / "ds", episode / "episode.mp4", truth, oracle.true_objects(truth))
    with pytest.raises(UsageError, match="not scored yet"):
        compare_paths(pair[0], tmp_path / "ds")
    video = evaluate_dataset(tmp_path / "ds", episode).card.video_id
    with DatasetWriter(tmp_path / "ds") as writer:
        writer.commit(video, "another plan", {})
    with pytest.raises(UsageError, match="processed again"):
        compare_paths(pair[0], tmp_path / "ds")
