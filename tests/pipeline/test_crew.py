"""Worker processes and ray actors make the dataset that one process makes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toys
from test_executor import every_table

from stpe import cli
from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.errors import StageError, UsageError
from stpe.models import loader
from stpe.models.devices import visible
from stpe.pipeline.plan import make_plan
from stpe.pipeline.progress import Progress
from stpe.pipeline.rounds import rounds
from stpe.stages import registry


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return toys.write_clip(tmp_path_factory.mktemp("clip") / "a.mp4")


@pytest.fixture(scope="module")
def alone(clip, tmp_path_factory):
    """The report and the dataset of one process."""
    out = tmp_path_factory.mktemp("alone") / "ds"
    with pytest.MonkeyPatch.context() as patch, Engine("embedded") as engine:
        patch.setattr(registry, "STAGES", toys.STAGES)
        return engine.process(clip, out).videos[0], every_table(out)


@pytest.fixture(autouse=True)
def toy_registry(monkeypatch):
    monkeypatch.setattr(registry, "STAGES", toys.STAGES)


class Heard(Progress):
    def __init__(self):
        self.seconds = {}

    def advance(self, stage, video_s, reused):
        self.seconds[stage] = self.seconds.get(stage, 0.0) + video_s


def counts(report):
    return {s.name: (s.windows, s.made, s.reused) for s in report.stages}


def check(out, tables):
    got = every_table(out)
    assert got.keys() == tables.keys()
    for name in tables:
        assert got[name].equals(tables[name]), name


def running(pid):
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_two_processes_make_what_one_makes(clip, alone, tmp_path):
    report, tables = alone
    heard = Heard()
    with Engine("embedded", workers=1, devices=("cpu", "cpu")) as engine:
        shared = engine.process(clip, tmp_path / "ds", progress=heard).videos[0]
        check(tmp_path / "ds", tables)
        pids = [process.pid for process, _ in engine._crew._members]
        assert len(pids) == 2
        again = engine.process(clip, tmp_path / "ds", context="Well: ", replace=True).videos[0]
        changed = engine.process(clip, tmp_path / "ds", concepts=["cat"], replace=True).videos[0]
        assert [process.pid for process, _ in engine._crew._members] == pids, "models stay loaded"
    assert not any(map(running, pids))
    assert counts(shared) == counts(report)
    assert {s.name for s in again.stages if s.made} == {"summary"}
    assert {s.name for s in changed.stages if s.made} == {"things", "identities", "summary"}
    assert all(abs(s - report.duration_s) < 0.6 for s in heard.seconds.values()), heard.seconds


def test_a_process_that_dies_is_named_and_the_next_run_continues(
    clip, alone, tmp_path, monkeypatch
):
    monkeypatch.setenv("TOY_PAUSE_S", "0.02")
    bad = toys.write_clip(tmp_path / "bad.mp4", 4, trap=True)
    with Engine("embedded", workers=1, devices=("cpu", "cpu")) as engine:

        class Killing(Heard):
            def advance(self, stage, video_s, reused):
                os.kill(engine._crew._members[0][0].pid, signal.SIGKILL)

        with pytest.raises(StageError, match=r"signal 9 \(out of memory\?\)"):
            engine.process(clip, tmp_path / "ds", progress=Killing())
        monkeypatch.setenv("TOY_PAUSE_S", "0")
        done, failed = engine.process([clip, bad], tmp_path / "ds").videos
    assert (done.status, failed.status) == ("done", "failed")
    assert "stage fragile, frames 30 to 30" in failed.error
    check(tmp_path / "ds", alone[1])


def test_several_sources_run_at_once_each_whole_or_named(tmp_path, monkeypatch):
    sources = [toys.write_clip(tmp_path / f"{i}.mp4", 4, seed=i, trap=i == 2) for i in range(5)]
    with Engine("embedded") as engine:
        engine.process(sources, tmp_path / "alone")
    monkeypatch.setenv("TOY_PAUSE_S", "0.005")
    busy, ends = [], []

    class Killing(Heard):
        """Kills the process that has the second source."""

        def advance(self, stage, video_s, reused):
            busy.append(len(engine._crew._asked))
            if busy.count(2) == 1 and busy[-1] == 2:
                os.kill(engine._crew._members[1][0].pid, signal.SIGKILL)

        def done(self, report):
            ends.append(report.uri)

    with Engine("embedded", workers=1, devices=("cpu", "cpu")) as engine:
        reports = engine.process(sources, tmp_path / "ds", progress=Killing()).videos
        assert max(busy) == 2
        assert [Path(report.uri) for report in reports] == sources
        assert sorted(ends) == sorted(map(str, sources))
        assert [r.status for r in reports] == ["done", "failed", "failed", "done", "done"]
        assert "signal 9 (out of memory?)" in reports[1].error
        assert "stage fragile, frames 30 to 30" in reports[2].error
        assert all(s.made and not s.reused for s in reports[3].stages)
        monkeypatch.setenv("TOY_PAUSE_S", "0")
        again = [r.status for r in engine.process(sources, tmp_path / "ds").videos]
    assert again == ["unchanged", "done", "failed", "unchanged", "unchanged"]
    alone, spread = (open_dataset(tmp_path / name) for name in ("alone", "ds"))
    assert spread.tables == alone.tables
    for video in alone.arrow("videos")["video_id"].to_pylist():
        for name in set(alone.tables) - {"artifacts"}:
            rows = spread.arrow(name, video_id=video)
            assert rows.equals(alone.arrow(name, video_id=video)), name


INTERRUPTED = """
import sys
import toys
from stpe.engine import Engine
from stpe.errors import InterruptedRunError
from stpe.stages import registry

registry.STAGES = toys.STAGES
with Engine("embedded", workers=1, devices=("cpu", "cpu")) as engine:
    try:
        engine.process(sys.argv[2:], sys.argv[1])
    except InterruptedRunError as error:
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_ends_the_processes(clip, tmp_path, count):
    other = toys.write_clip(tmp_path / "b.mp4", 4)
    sources = [str(clip), str(other)][:count]
    leader = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "ds"), *sources],
        env={
            **os.environ,
            "TOY_PAUSE_S": "5",
            "PYTHONPATH": os.pathsep.join([str(Path(toys.__file__).parent), *sys.path]),
        },
        start_new_session=True,
    )
    children = Path(f"/proc/{leader.pid}/task/{leader.pid}/children")
    pids = []
    while not pids:
        assert leader.poll() is None
        time.sleep(0.05)
        pids = [int(pid) for pid in children.read_text().split()]
    time.sleep(0.5)
    leader.send_signal(signal.SIGINT)
    assert leader.wait(30) == 130
    assert not any(map(running, pids))


def test_ray_makes_what_one_process_makes(clip, alone, tmp_path):
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")
    with Engine("embedded", workers=1, executor="ray", devices=("cpu", "cpu")) as engine:
        shared = engine.process(clip, tmp_path / "ds").videos[0]
        bad = toys.write_clip(tmp_path / "bad.mp4", 4, trap=True)
        good = toys.write_clip(tmp_path / "good.mp4", 4)
        failed, done = engine.process([bad, good], tmp_path / "two").videos
    ray.shutdown()
    assert (failed.status, done.status) == ("failed", "done")
    assert "stage fragile, frames 30 to 30" in failed.error
    check(tmp_path / "ds", alone[1])
    assert counts(shared) == counts(alone[0])


def test_without_ray_one_line_says_how_to_get_it(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    given = ["process", str(clip), "--out", str(tmp_path / "ds"), "--profile", "embedded"]
    assert cli.run([*given, "--engine", "ray"]) == 1
    assert "pip install 'stpe[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "ds").exists()


def test_rounds_keep_the_order_of_what_has_one():
    found = rounds(make_plan(loader.resolve("embedded")).nodes)
    names = [[{n.name for n in k} for k in (r.parallel, r.ordered, r.video)] for r in found]
    assert names == [
        [{"brightness", "intervals", "things", "smooth", "fragile"}, {"identities"}, {"shots"}],
        [{"membership"}, set(), {"summary"}],
    ]


def test_a_device_is_named_as_torch_names_it(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (visible("cpu"), visible("cuda:1")) == ("", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert visible("cuda:1") == "7"
    for wrong in ("cuda:2", "cuda", "gpu", "cuda:-1"):
        with pytest.raises(UsageError, match=r"cuda|gpu"):
            visible(wrong)
    with pytest.raises(UsageError, match="no executor"):
        Engine("embedded", executor="spark")


def test_a_crew_has_nothing_to_do_where_no_stage_runs(clip, tmp_path):
    with Engine("embedded", devices=("cpu", "cpu")) as engine:
        (report,) = engine.process(clip, tmp_path / "ds", signals=["frames.pts"]).videos
    assert report.rows["frames"] == every_table(tmp_path / "ds")["frames"].num_rows == 80
