"""A second call on the same dataset: it adds, and loses nothing that it was not told to."""

import json

import pytest
import toys

from stpe import cli
from stpe.dataset.inspect import inspect
from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.errors import DatasetError, UsageError
from stpe.stages import registry


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return toys.write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 30)


@pytest.fixture(autouse=True)
def toy_registry(monkeypatch):
    monkeypatch.setattr(registry, "STAGES", toys.STAGES)


def run(clip, out, **options):
    with Engine("embedded") as engine:
        return engine.process(clip, out, **options)


def rows(folder):
    found = open_dataset(folder)
    tables = {name: found.arrow(name) for name in found.tables}
    tables["artifacts"] = tables["artifacts"].drop_columns(["seconds"])
    return tables


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].equals(b[name]), name


def test_calls_add_up_to_one_call_for_all(clip, tmp_path):
    other = toys.write_clip(tmp_path / "b.mp4", 4, seed=9)
    for signals in (
        ["objects.label", "objects.area_px"],
        ["shots", "frames.shot_id"],
        ["frames.embedding", "objects.track_id", "objects.pts"],
        ["videos.summary"],
    ):
        run([other, clip], tmp_path / "parts", signals=signals)
    run([other, clip], tmp_path / "once", signals=[
        "objects", "shots", "frames.shot_id", "frames.embedding", "videos.summary",
    ])  # fmt: skip
    same(rows(tmp_path / "parts"), rows(tmp_path / "once"))
    assert inspect(open_dataset(tmp_path / "parts")).notes == []
    before = rows(tmp_path / "parts")
    for less in (["shots"], ["objects.area_px", "videos.summary"]):
        (video,) = run(clip, tmp_path / "parts", signals=less).videos
        assert video.status == "unchanged"
    same(rows(tmp_path / "parts"), before)
    (video,) = run(clip, tmp_path / "parts").videos  # all there is
    assert set(video.change.keeps) >= {"objects.track_id", "videos.summary"}
    assert set(video.change.adds) >= {"transitions.cut", "motion.interval_s"}
    run(clip, tmp_path / "all")
    same(rows(tmp_path / "all"),
         {n: t.filter(t["video_id"].to_numpy(False) == video.video_id)
          for n, t in rows(tmp_path / "parts").items()})  # fmt: skip


@pytest.mark.parametrize(
    ("options", "lost", "why"),
    [
        ({"fps": 3.0, "signals": ["shots"]}, r"renew frames.* drop .*objects \(all of it\)",
         "fps 2.0 and now 3.0"),
        ({"resolution": 32, "signals": ["shots"]}, r"drop .*objects \(all of it\)", "long_side"),
        ({"concepts": ["cat"], "signals": ["objects.label"]},
         r"renew objects.label.* drop objects\.area_px, objects.*videos.summary",
         "things is given another concepts"),
        ({"context": "Well: "}, r"renew videos\.summary", "summary is given another context"),
    ],
    ids=["fps", "resolution", "concepts", "context"],
)  # fmt: skip
def test_what_would_be_lost_is_named_and_refused(clip, tmp_path, options, lost, why):
    out = tmp_path / "ds"
    signals = ["objects", "frames.embedding", "videos.summary"]
    run(clip, out, signals=signals)
    before = rows(out)
    with pytest.raises(UsageError, match=f"{lost}.*{why}.*--replace") as refused:
        run(clip, out, **options)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    same(rows(out), before)
    (video,) = run(clip, out, replace=True, **options).videos
    found = inspect(open_dataset(out))
    assert found.problems == []
    for name in video.change.drops:
        assert name not in found.signals


def test_nothing_is_kept_that_was_made_from_what_is_renewed(clip, tmp_path):
    out = tmp_path / "ds"
    run(clip, out)
    run(clip, out, concepts=["cat"], signals=["objects.label"], replace=True)
    found = inspect(open_dataset(out)).signals
    assert "objects.track_id" not in found
    assert "videos.summary" not in found
    assert {"frames.embedding", "shots.start_frame", "motion.interval_s"} <= set(found)
    stages = {row["stage"] for row in open_dataset(out).arrow("artifacts").to_pylist()}
    assert "identities" not in stages
    assert {"things", "shots", "intervals"} <= stages
    run(clip, out, concepts=["cat"])
    run(clip, tmp_path / "once", concepts=["cat"])
    same(rows(out), rows(tmp_path / "once"))


def test_a_join_that_fails_changes_nothing(clip, tmp_path, monkeypatch):
    out = tmp_path / "ds"
    run(clip, out, signals=["objects.label"])
    before = rows(out)

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("stpe.dataset.writer.write_manifest", full)
        with pytest.raises(DatasetError, match="No space left"):
            run(clip, out, signals=["frames.embedding", "objects.track_id"])
    same(rows(out), before)
    run(clip, out, signals=["frames.embedding", "objects.track_id"])
    assert open_dataset(out).arrow("frames")["embedding"].null_count == 0
    assert open_dataset(out).arrow("objects")["label"].null_count == 0


def test_the_command_line_says_what_it_keeps_adds_and_renews(clip, tmp_path, capsys):
    def stpe(*arguments):
        code = cli.run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    out = tmp_path / "ds"
    assert stpe("process", clip, "--out", out, "--signals", "objects.label")[0] == 0
    asked = ("--signals", "shots,objects.label", "--out", out)
    _, planned, _ = stpe("plan", clip, *asked)
    assert "keeps frames" in planned
    assert "adds shots (all of it)" in planned
    _, planned, _ = stpe("plan", clip, *asked, "--fps", "4", "--json")
    assert "objects.label" in json.loads(planned)["change"]["renews"]
    code, _, said = stpe("process", clip, *asked)
    assert code == 0
    assert "adds shots (all of it)" in said
    code, _, said = stpe("process", clip, *asked, "--fps", "4")
    assert code == 2
    assert said.count("\n") == 1
    code, _, said = stpe("process", clip, *asked, "--fps", "4", "--replace", "--json")
    assert code == 0
