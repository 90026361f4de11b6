"""Windows, context, order, joins and passes: real decoder, real store, real Lance, toy stages."""

import threading

import av
import numpy as np
import pytest
import toys

from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.errors import StageError
from stpe.pipeline.pool import Pool
from stpe.stages import registry
from stpe.stages.stage import Output
from stpe.video.frame import Grid


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return toys.write_clip(tmp_path_factory.mktemp("clip") / "a.mp4")


@pytest.fixture(autouse=True)
def toy_registry(monkeypatch):
    monkeypatch.setattr(registry, "STAGES", toys.STAGES)


def every_table(folder):
    """All rows but the seconds spent, which are never the same."""
    found = open_dataset(folder)
    tables = {name: found.arrow(name) for name in found.tables}
    tables["artifacts"] = tables["artifacts"].drop_columns(["seconds"])
    return tables


def run(clip, out, **options):
    with Engine("embedded") as engine:
        return engine.process(clip, out, **options)


def test_rows_equal_those_computed_without_chunks(clip, tmp_path):
    report = run(clip, tmp_path / "ds").videos[0]
    got = every_table(tmp_path / "ds")
    with av.open(str(clip)) as container:
        pts = [f.time for f in container.decode(video=0)]
    n = len(pts)

    frames = got["frames"]
    index = frames["frame_index"].to_pylist()
    assert index == list(range(0, n, 6))  # 12 frames a second, two analysed
    assert frames["pts"].to_pylist() == [pts[i] for i in index]
    assert frames["shot_id"].to_pylist() == [i // 60 for i in index]
    assert frames["depth"].null_count == len(index)

    motion = got["motion"]
    later, earlier = motion["frame_index"].to_numpy(), motion["previous_frame_index"].to_numpy()
    assert later.tolist()[1:] == sorted(later.tolist())[1:]
    assert earlier[1:].tolist() == later[:-1].tolist(), "an interval is missing at a chunk border"
    assert set(index[1:]) <= set(later.tolist()), "the motion grid holds every analysis frame"

    objects = got["objects"].to_pylist()
    keys = [(o["frame_index"], o["object_id"]) for o in objects]
    assert keys == [(i, k) for i in index for k in range(i // 5 % 3)]
    assert [o["track_id"] for o in objects] == list(range(len(keys)))
    light = dict(zip(index, (e[0] for e in frames["embedding"].to_pylist()), strict=True))
    expected = [np.float32(light[i] + k) for i, k in keys]
    assert [np.float32(o["area_px"]) for o in objects] == expected

    assert got["transitions"]["frame_index"].to_pylist() == list(range(n))
    (video,) = got["videos"].to_pylist()
    assert video["summary"] == f"{len(index)} frames, {len(keys)} objects"
    assert (video["frame_count"], video["width"], video["height"]) == (n, 64, 48)
    assert report.rows["objects"] == len(keys)


def test_context_makes_chunk_borders_invisible(clip, tmp_path):
    run(clip, tmp_path / "ds", signals=["transitions.cut"])
    cut = every_table(tmp_path / "ds")["transitions"]["cut"].to_numpy()
    run(clip, tmp_path / "long", signals=["transitions.cut"], fps=0.1)  # one frame a chunk, 16 s
    assert np.array_equal(cut, every_table(tmp_path / "long")["transitions"]["cut"].to_numpy())
    run(clip, tmp_path / "short", signals=["transitions.cut"], fps=12)  # 2.67 s a chunk
    assert np.array_equal(cut, every_table(tmp_path / "short")["transitions"]["cut"].to_numpy())


def test_two_runs_are_equal_byte_for_byte_whatever_the_threads(clip, tmp_path):
    with Engine("embedded", workers=1) as engine:
        engine.process(clip, tmp_path / "one")
    with Engine("embedded", workers=7) as engine:
        engine.process(clip, tmp_path / "two")
    one, two = every_table(tmp_path / "one"), every_table(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].equals(two[name]), name


def test_provenance_names_what_ran_and_why_the_rest_did_not(clip, tmp_path):
    result = run(clip, tmp_path / "ds")
    rows = every_table(tmp_path / "ds")["artifacts"].to_pylist()
    assert {r["stage"] for r in rows} == {"decode", *(stage.name for stage in toys.STAGES)}
    (absent,) = (r for r in rows if r["reason"])
    assert absent["stage"] == "deep"
    assert "captioner" in absent["reason"] == result.absent["deep"]
    assert [r["chunk"] for r in rows if r["stage"] == "things"] == [0, 1, 2]
    assert [r["chunk"] for r in rows if r["stage"] == "shots"] == [None]


def test_only_what_depends_on_a_change_runs_again(clip, tmp_path, monkeypatch):
    def made(**options):
        stages = run(clip, tmp_path / "ds", replace=True, **options).videos[0].stages
        return {s.name for s in stages if s.made}

    assert made() == {s.name for s in toys.STAGES} - {"deep"}
    assert run(clip, tmp_path / "ds").videos[0].status == "unchanged"
    assert made(context="Well: ") == {"summary"}
    assert every_table(tmp_path / "ds")["videos"]["summary"][0].as_py().startswith("Well: ")
    assert made(concepts=["cat"]) == {"things", "identities", "summary"}
    assert made() == set(), "the first artifacts are still there"

    class Other(toys.Smooth):
        version = "2"

    changed = tuple(Other if s is toys.Smooth else s for s in toys.STAGES)
    monkeypatch.setattr(registry, "STAGES", changed)
    assert made() == {"smooth", "shots", "membership", "summary"}

    damaged = next((tmp_path / "ds" / "artifacts").glob("*/*.arrow"))
    for path in (tmp_path / "ds" / "artifacts").glob("*/*.arrow"):
        damaged = max(damaged, path, key=lambda p: p.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-40])
    before = every_table(tmp_path / "ds")
    assert len(made(context="Again: ") - {"summary"}) <= 2, "a damaged artifact was not rebuilt"
    assert every_table(tmp_path / "ds")["transitions"].equals(before["transitions"])


def test_a_failing_stage_names_itself_and_leaves_nothing(tmp_path):
    good = toys.write_clip(tmp_path / "good.mp4", 6)
    bad = toys.write_clip(tmp_path / "bad.mp4", 6, trap=True)
    with Engine("embedded") as engine:
        with pytest.raises(StageError, match=r"stage fragile, frames 30 to 30.*very white frame"):
            engine.process(bad, tmp_path / "ds")
        result = engine.process([bad, good], tmp_path / "ds")
    assert [v.status for v in result.videos] == ["failed", "done"]
    tables = every_table(tmp_path / "ds")
    assert tables["videos"]["uri"].to_pylist() == [str(good)]
    for name, rows in tables.items():
        assert set(rows["video_id"].to_pylist()) <= {result.videos[1].video_id}, name


def test_one_frame(tmp_path):
    clip = toys.write_clip(tmp_path / "one.mp4", 1 / 12)
    run(clip, tmp_path / "ds")
    tables = every_table(tmp_path / "ds")
    assert tables["frames"].num_rows == tables["transitions"].num_rows == 1
    assert tables["shots"].num_rows == 1


def test_a_grid_that_skips_whole_chunks_can_be_made_later(clip, tmp_path, monkeypatch):
    class Rare(toys.Toy):
        """A frame every four seconds, where a chunk at 12 frames a second has 2.67."""

        name = "rare"
        grid = Grid("rare", fps=0.25)
        writes = ("frames.camera_confidence",)

        def answer(self, window):
            found = {"frame_index": [], "pts": [], "camera_confidence": []}
            for f in window.core_frames:
                found["frame_index"].append(f.index)
                found["pts"].append(f.pts)
                found["camera_confidence"].append(f.image.mean() / 255)
            return Output({"frames": toys.table("frames", **found)})

    monkeypatch.setattr(registry, "STAGES", (*toys.STAGES, Rare))
    run(clip, tmp_path / "ds", fps=12, without=["frames.camera_confidence"])
    (report,) = run(clip, tmp_path / "ds", fps=12).videos
    assert {s.name for s in report.stages if s.made} == {"rare"}
    run(clip, tmp_path / "once", fps=12)
    later, once = every_table(tmp_path / "ds"), every_table(tmp_path / "once")
    assert later["frames"].equals(once["frames"])
    assert 0 < later["frames"].num_rows - later["frames"]["camera_confidence"].null_count < 15


def test_a_stopped_pool_begins_nothing_and_finishes_its_writes():
    begun, written = threading.Event(), threading.Event()
    with Pool(1) as pool:
        pool.submit((0,), lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            pool.wait(lambda: False)
        pool.submit((0,), begun.set)  # as a task in flight would
        pool.write(written.set)
        assert not begun.wait(0.2)
    assert written.is_set()
