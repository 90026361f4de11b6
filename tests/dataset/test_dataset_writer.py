import hashlib
import os
import pickle
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest
import small_dataset as shared

from stpe.dataset import DatasetWriter, compact, open_dataset
from stpe.dataset.export import export
from stpe.dataset.inspect import inspect
from stpe.dataset.layout import table_schema
from stpe.dataset.report import report
from stpe.errors import DatasetError, SourceError, UsageError
from stpe.signals import TABLES


def frames(*indices: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"frame_index": [i], "pts": [i / 10]}) for i in indices]


def indices(path: Path, video_id: str | None = None) -> list[int]:
    rows = open_dataset(path).arrow("frames", video_id, ["frame_index"])
    return rows["frame_index"].to_pylist()


def test_rows_come_back_as_they_were_written(dataset, clips):
    sha256 = hashlib.sha256(clips[1].read_bytes()).hexdigest()
    written = shared.rows_of(clips[1], sha256, 1)
    for table in TABLES:
        stored = dataset.arrow(table, sha256[:16])
        assert stored.schema.equals(table_schema(table), check_metadata=True)
        rows = [{k: v for k, v in r.items() if k != "video_id"} for r in stored.to_pylist()]
        names = set().union(*(r for r in written.get(table, [{}])))
        expected = pa.Table.from_pylist(
            [{n: r.get(n) for n in names} for r in written.get(table, [])],
            schema=pa.schema([f for f in table_schema(table) if f.name in names]),
        ).to_pylist()
        assert [{k: v for k, v in row.items() if k in names} for row in rows] == expected
        assert all(row[k] is None for row in rows for k in row if k not in names)
    assert dataset.media(sha256[:16]).read_bytes() == clips[1].read_bytes()


def test_filters_by_video_time_and_column(dataset):
    video = dataset.videos[0]
    rows = dataset.arrow("objects", video, ["label", "pts"], start_s=1.0, end_s=1.5)
    assert rows.column_names == ["label", "pts"]
    assert set(rows["pts"].to_pylist()) == {1.0, 1.25}
    assert dataset.arrow("shots", start_s=2.0).num_rows == 2
    assert dataset.arrow("events", video, start_s=1.5)["kind"].to_pylist() == ["starts"]
    assert dataset.pandas("tracks", video).shape[0] == 2
    for wrong in (
        lambda: dataset.arrow("frame"),
        lambda: dataset.arrow("frames", columns=["embeding"]),
        lambda: dataset.arrow("frames", "nobody"),
        lambda: dataset.arrow("videos", start_s=1.0),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_a_commit_replaces_all_rows_of_its_video(tmp_path):
    with DatasetWriter(tmp_path) as writer:
        writer.commit("a", "1", {"frames": frames(1, 2, 3), "tracks": [
            pa.RecordBatch.from_pydict({"track_id": [1]})]})  # fmt: skip
        writer.commit("b", "1", {"frames": frames(7)})
        assert writer.sealed("a") == "1"
        writer.commit("a", "2", {"frames": frames(4, 5)})
        assert writer.sealed("a") == "2"
        assert indices(tmp_path) == [7, 4, 5]
        assert open_dataset(tmp_path).tables["tracks"] == 0
        assert list(open_dataset(tmp_path).stream("tracks", "a")) == []
        writer.remove("b")
        assert writer.sealed("b") is None
    assert indices(tmp_path) == [4, 5]
    assert open_dataset(tmp_path).videos == ("a",)


def test_a_failed_commit_changes_nothing(tmp_path):
    def breaking():
        yield from frames(1, 2)
        raise ZeroDivisionError("in a stage")

    with DatasetWriter(tmp_path) as writer:
        writer.commit("a", "1", {"frames": frames(1)})
        for video in ("a", "b"):
            with pytest.raises(ZeroDivisionError):
                writer.commit(video, "2", {"frames": frames(9), "events": breaking()})
            with pytest.raises(ZeroDivisionError):
                writer.commit(video, "2", {"frames": breaking()})
        with pytest.raises(DatasetError, match="vocabulary"):
            writer.commit("a", "2", {"frames": [pa.RecordBatch.from_pydict({"made_up": [1]})]})
        assert writer.sealed("a") == "1"
        assert indices(tmp_path) == [1]
        writer.commit("b", "1", {"frames": frames(2)})
    assert indices(tmp_path) == [1, 2]
    assert inspect(open_dataset(tmp_path)).notes == []


def test_one_writer_at_a_time_and_no_foreign_folder(tmp_path):
    writer = DatasetWriter(tmp_path / "ds")
    with pytest.raises(DatasetError, match="another process is writing"):
        DatasetWriter(tmp_path / "ds")
    writer.close()
    DatasetWriter(tmp_path / "ds").close()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    with pytest.raises(DatasetError, match="holds files but no dataset"):
        DatasetWriter(tmp_path / "photos")
    for other in (tmp_path / "photos", tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="not a dataset"):
            open_dataset(other)
    (tmp_path / "ds" / "dataset.json").write_text('{"format": 99, "tables": {}, "videos": {}}')
    with pytest.raises(DatasetError, match="format 99"):
        open_dataset(tmp_path / "ds")
    (tmp_path / "ds" / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        open_dataset(tmp_path / "ds")
    (tmp_path / "odd" / ".lock").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"cannot use .*odd as a dataset folder: .*choose"):
        DatasetWriter(tmp_path / "odd")


def test_an_address_is_not_taken_for_a_folder(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("s3://bucket/ds", Path("s3://bucket/ds"), "file:///tmp/ds"):
        with pytest.raises(UsageError, match="local folder"):
            DatasetWriter(address)
        with pytest.raises(UsageError, match="local folder"):
            export(dataset, "analysis", address)
    assert not list(tmp_path.iterdir())


def test_a_source_that_changed_is_not_stored(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"whole")
    with DatasetWriter(tmp_path / "ds") as writer:
        with pytest.raises(SourceError, match=r"a\.mp4 changed while it was processed"):
            writer.add_media(hashlib.sha256(b"half").hexdigest(), tmp_path / "a.mp4")
        assert not list((tmp_path / "ds" / "media").iterdir())
        stored = writer.add_media(hashlib.sha256(b"whole").hexdigest(), tmp_path / "a.mp4")
    assert stored.read_bytes() == b"whole"


def test_what_a_killed_writer_began_is_removed(tmp_path):
    begun = [tmp_path / name / ".writing-1" for name in ("", "media", "artifacts/ab")]
    kept = tmp_path / "artifacts" / "ab" / "ab.arrow"
    DatasetWriter(tmp_path).close()
    for path in (*begun, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    DatasetWriter(tmp_path).close()
    assert [path.exists() for path in (*begun, kept)] == [False, False, False, True]


_WRITE = """
import sys, time
sys.path.insert(0, sys.argv[2])
import small_dataset, pyarrow as pa
from stpe.dataset import DatasetWriter
def frames(*indices):
    return [pa.RecordBatch.from_pydict({"frame_index": [i], "pts": [i / 10]}) for i in indices]
with DatasetWriter(sys.argv[1]) as writer:
    print("go", flush=True)
    for n in range(1000):
        writer.commit("a", str(n), {"frames": frames(n, n + 1), "objects": [
            pa.RecordBatch.from_pydict({"frame_index": [n], "object_id": [0]})]})
"""


def test_a_killed_writer_leaves_whole_commits_only(tmp_path):
    for wait_s in (0.05, 0.13, 0.31, 0.47):
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITE, str(tmp_path / "ds"), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"go\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(wait_s)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        for _ in range(2):
            ds = open_dataset(tmp_path / "ds")
            plan = ds.manifest.videos.get("a")
            if plan is not None:
                assert indices(tmp_path / "ds") == [int(plan), int(plan) + 1]
                objects = ds.arrow("objects", columns=["frame_index"])["frame_index"].to_pylist()
                assert objects == [int(plan)]
            DatasetWriter(tmp_path / "ds").close()
    assert inspect(open_dataset(tmp_path / "ds")).notes == []


def test_many_short_videos_stay_in_few_files(tmp_path):
    with DatasetWriter(tmp_path) as writer:
        for number in range(40):
            writer.commit(f"{number:016x}", "p", {"frames": frames(number, number + 1)})
    ds = open_dataset(tmp_path)
    assert indices(tmp_path) == [i for n in range(40) for i in (n, n + 1)]
    assert indices(tmp_path, f"{17:016x}") == [17, 18]
    fragments = len(ds.rows._open("frames").get_fragments())
    assert fragments <= compact.RUN + 6


def test_a_reader_keeps_what_it_opened_however_long(tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "_KEEP", timedelta(0))

    def commit(writer, number):
        writer.commit("a", str(number), {"frames": frames(number)})

    def versions():
        return len(lance.dataset(str(tmp_path / "tables" / "frames.lance")).versions())

    with DatasetWriter(tmp_path) as writer:
        commit(writer, 0)
        reader = open_dataset(tmp_path)  # has read nothing yet
        child = subprocess.Popen(
            [sys.executable, "-c", _READ, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdout.readline() == "open\n"
        copy = pickle.loads(pickle.dumps(reader))
        for number in range(1, 3 * compact.RUN):
            commit(writer, number)
        assert child.communicate("\n")[0] == "[0]\n"
        assert reader.arrow("frames")["frame_index"].to_pylist() == [0]
        del reader
        commit(writer, 90)
        assert copy.arrow("frames")["frame_index"].to_pylist() == [0]
        assert versions() < 3 * compact.RUN
        del copy
        for number in range(3 * compact.RUN):
            commit(writer, number)
        assert versions() <= compact.RUN + 3
    assert not list((tmp_path / ".readers").iterdir())


_READ = """
import sys
from stpe.dataset import open_dataset
reader = open_dataset(sys.argv[1])
print("open", flush=True)
input()
print(reader.arrow("frames")["frame_index"].to_pylist())
"""


def test_inspect_tells_counts_provenance_and_damage(dataset_path, tmp_path, clips):
    from io import StringIO

    from rich.console import Console

    sound = inspect(open_dataset(dataset_path))
    assert sound.problems == []
    assert sound.videos == 2
    assert sound.duration_s == pytest.approx(6.0)
    assert sound.signals["frames.camera_motion"] == pytest.approx(11 / 12)
    assert "frames.edges" not in sound.signals
    shares = {}
    for table, rows in sound.tables.items():  # lists, structs and text too
        stored = open_dataset(dataset_path).arrow(table).drop_columns("video_id")
        for name in stored.column_names:
            if stored[name].null_count < rows:
                shares[f"{table}.{name}"] = 1 - stored[name].null_count / rows
    assert sound.signals == pytest.approx(shares)
    assert [(s.stage, s.chunks, s.seconds) for s in sound.stages] == [
        ("depth", 0, 0.0),
        ("objects", 2, 3.0),
    ]
    assert sound.stages[0].reasons == ["no depth model is in the profile"]
    assert [(m.role, m.licence, m.stages) for m in sound.models] == [
        ("detector", "MIT", ["objects"])
    ]
    out = StringIO()
    Console(file=out, width=120).print(report(sound))
    assert "health: sound" in out.getvalue()

    with DatasetWriter(tmp_path / "ds") as writer:
        video = shared.add(writer, clips[0], 0)
    next((tmp_path / "ds" / "media").glob(f"{video}*")).unlink()
    (tmp_path / "ds" / "artifacts" / "00").mkdir(parents=True)
    (tmp_path / "ds" / "artifacts" / "00" / "00ff.arrow").write_bytes(b"x")
    hurt = inspect(open_dataset(tmp_path / "ds"))
    assert any("media are missing" in line for line in hurt.problems)
    assert any("1 artifacts" in line for line in hurt.notes)
    for file in (tmp_path / "ds" / "tables" / "tracks.lance" / "data").iterdir():
        file.unlink()
    assert any("tracks" in line for line in inspect(open_dataset(tmp_path / "ds")).problems)
    with pytest.raises(DatasetError, match="media of video"):
        open_dataset(tmp_path / "ds").frame(video, 0)


def test_a_dataset_from_before_a_column_joined_the_vocabulary(tmp_path):
    import json

    first, second = "a" * 16, "b" * 16
    with DatasetWriter(tmp_path) as writer:
        writer.commit(first, "plan", {"frames": frames(0, 1)})
    rows = lance.dataset(str(tmp_path / "tables" / "frames.lance"))
    rows.drop_columns(["depth_unit", "state"])
    manifest = json.loads((tmp_path / "dataset.json").read_text())
    manifest["tables"]["frames"] = rows.version
    (tmp_path / "dataset.json").write_text(json.dumps(manifest))

    old = open_dataset(tmp_path)
    assert old.arrow("frames", columns=["state", "frame_index"]).to_pylist() == [
        {"state": None, "frame_index": 0},
        {"state": None, "frame_index": 1},
    ]
    assert old.arrow("frames").schema.equals(table_schema("frames"))
    assert inspect(old).signals == {"frames.frame_index": 1.0, "frames.pts": 1.0}
    batch = {"frame_index": [0], "pts": [0.0], "depth_unit": ["metres"]}
    with DatasetWriter(tmp_path) as writer:
        writer.commit(second, "plan", {"frames": [pa.RecordBatch.from_pydict(batch)]})
    new = open_dataset(tmp_path).arrow("frames", columns=["video_id", "depth_unit"])
    assert new.to_pylist() == [
        {"video_id": first, "depth_unit": None},
        {"video_id": first, "depth_unit": None},
        {"video_id": second, "depth_unit": "metres"},
    ]


def test_a_full_disk_is_said_and_its_leavings_never_count(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("LanceError(IO): No space left on device")

    with DatasetWriter(tmp_path) as writer:
        writer.commit("a", "1", {"frames": frames(1)})
        with monkeypatch.context() as patch:
            patch.setattr(lance.LanceDataset, "restore", full)
            patch.setattr("stpe.dataset.writer.write_manifest", full)
            with pytest.raises(DatasetError, match=r"cannot write .*No space left.*free space"):
                writer.commit("b", "1", {"frames": frames(9)})
            with pytest.raises(DatasetError, match=r"cannot write .*No space left.*free space"):
                writer.commit("c", "1", {"frames": frames(8)})
            with pytest.raises(DatasetError, match=r"cannot write .*No space left.*free space"):
                writer.remove("a")
        writer.commit("d", "1", {"frames": frames(2)})
        assert indices(tmp_path) == [1, 2]
