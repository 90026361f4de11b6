"""One state log and one camera file a source."""

import io
import json
import zipfile

import pytest
import toys
from PIL import Image

from stpe import cli
from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.errors import UsageError
from stpe.pipeline.pairing import files_of, paired
from stpe.stages import registry
from stpe.stages.state_log import StateLogStage
from stpe.video.expansion import Expansion


def test_pairs_orders_and_refusals():
    sources = ["x/a.mp4", "x/b=c.mp4", "y/a.mp4"]
    found = Expansion(sources, [None, None, "own"])

    def logs(*values):
        return files_of(found, values, ())[0]

    assert logs() == [None, None, "own"]
    assert logs("1", "2", "3") == ["1", "2", "3"]
    assert logs("x/b=c.mp4=k=1.json") == [None, "k=1.json", "own"]
    assert logs("b=c.mp4=1", "y/a.mp4=2") == [None, "1", "2"]
    assert files_of(Expansion(["a.mp4"], [None]), ["k=1"], ()) == (["k=1"], [None])
    for wrong, why in (
        (["1"], "one state and 3 sources"),
        (["1", "2"], "2 of state for 3"),
        (["a.mp4=1"], "several sources have that name"),
        (["x/a.mp4=1", "2"], "give a file for every source, or"),
        (["x/a.mp4=1", "x/a.mp4=2"], "given two files"),
    ):
        with pytest.raises(UsageError, match=why):
            logs(*wrong)
    with pytest.raises(UsageError, match="no source of this call"):
        paired({"z.mp4": "1"}, sources, "state")
    with pytest.raises(UsageError, match="one camera and 3 sources"):
        paired('{"focal_px": 500}', sources, "camera")


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "STAGES", (*toys.STAGES, StateLogStage))
    folder = tmp_path / "clips"
    folder.mkdir()
    for n in range(2):
        toys.write_clip(folder / f"{n}.mp4", 4, seed=n)
        rows = [{"frame": i, "player": {"health": n * 1000 + i}} for i in range(48)]
        (tmp_path / f"{n}.json").write_text(json.dumps(rows))
    return tmp_path


def healths(out):
    found = {}
    for video in open_dataset(out).videos:
        uri = open_dataset(out).arrow("videos", video, ["uri"])["uri"][0].as_py()
        states = open_dataset(out).arrow("frames", video, ["state"])["state"].to_pylist()
        found[uri[-5:]] = [s and json.loads(s)["player"]["health"] // 1000 for s in states]
    return found


def test_each_source_gets_its_own_log(recordings, capsys):
    out, signals = recordings / "ds", ("--signals", "frames.state")
    clips, logs = recordings / "clips", [recordings / f"{n}.json" for n in range(2)]

    def stpe(*arguments):
        code = cli.run(["process", *map(str, arguments), "--out", str(out), *signals])
        return code, capsys.readouterr().err

    code, said = stpe(clips, "--state", logs[0])
    assert code == 2
    assert "one state and 2 sources" in said
    assert not out.exists()
    code, said = stpe(clips, "--state", f"1.mp4={logs[1]}")
    assert code == 0, said
    found = healths(out)
    assert set(found["0.mp4"]) == {None}
    assert set(found["1.mp4"]) <= {1, None}
    code, said = stpe(clips, "--state", logs[0], "--state", logs[1])
    assert code == 0, said  # the first had none, so nothing is lost
    found = healths(out)
    assert set(found["0.mp4"]) <= {0, None}
    assert set(found["1.mp4"]) <= {1, None}
    assert {0, 1} <= {n for states in found.values() for n in states}
    code, said = stpe(clips / "0.mp4", "--state", logs[1])
    assert code == 2
    assert "state_log is given another state" in said


def strict(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_no_number_is_null_in_states_and_exports(recordings, capsys):
    player = {"health": float("nan"), "at": [1.0, float("-inf")]}
    rows = json.dumps([{"frame": i, "player": player} for i in range(48)])
    (recordings / "nan.json").write_text(rows)
    frames = recordings / "frames.zip"
    with zipfile.ZipFile(frames, "w") as archive:
        for n in range(3):
            picture = io.BytesIO()
            Image.new("RGB", (32, 32), (80 * n, 0, 0)).save(picture, "PNG")
            archive.writestr(f"{n}.png", picture.getvalue())
            archive.writestr(f"{n}.json", '{"player": {"health": NaN, "at": [Infinity]}}')
    sources = (recordings / "clips" / "0.mp4", frames)
    out = recordings / "ds"
    asked = ("--signals", "frames.state", "--state", f"0.mp4={recordings / 'nan.json'}", "--json")
    code = cli.run(["process", *map(str, sources), "--out", str(out), *asked])
    result = strict(capsys.readouterr().out)
    assert code == 0
    for video, name in zip(result["videos"], ("state log", "frames"), strict=True):
        assert any("NaN" in warning and name in warning for warning in video["warnings"])
    states = [s for s in open_dataset(out).arrow("frames")["state"].to_pylist() if s]
    assert states
    for state in map(strict, states):
        assert state["player"]["health"] is None
        assert None in state["player"]["at"]
    assert (
        cli.run(["export", str(out), "--format", "analysis", "--out", str(recordings / "a")]) == 0
    )
    assert [p.suffix for p in (recordings / "a").rglob("*.json")] or (recordings / "a").is_file()
    written = list((recordings / "a").rglob("*.json"))
    assert written
    for path in written:
        strict(path.read_text())


def test_a_mapping_with_a_missing_and_a_damaged_log(recordings):
    clips = [recordings / "clips" / f"{n}.mp4" for n in range(2)]
    bad = recordings / "bad.json"
    logs = {clips[0]: bad, "1.mp4": recordings / "1.json"}
    options = {"signals": ["frames.state"], "state": logs}
    with Engine("embedded") as engine:
        with pytest.raises(UsageError, match=r"no state log .*bad\.json"):
            engine.process(clips, recordings / "ds", **options)
        assert not (recordings / "ds").exists()
        bad.write_text("{")
        result = engine.process(clips, recordings / "ds", **options)
    assert [video.status for video in result.videos] == ["failed", "done"]
    assert "bad.json" in result.videos[0].error
