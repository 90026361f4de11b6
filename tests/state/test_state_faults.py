"""Logs with every kind of fault beside a real video, through the command line and the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from state_cases import yaw_deg

from stpe import cli
from stpe.dataset.reader import open_dataset
from stpe.engine import Engine
from stpe.errors import SourceError
from stpe.state.reading import read_log

FPS, SECONDS, SIZE = 25, 14, (128, 96)
#: Pixels of the panorama a degree: a view of 65 degrees is as wide as the picture.
SCALE = SIZE[0] / 65
#: All that is needed, so that a call takes a second.
ONLY = ("--signals", "videos.alignment", "--without", "transitions.cut,transitions.gradual",
        "--profile", "embedded")  # fmt: skip


def angles(seed: int) -> np.ndarray:
    """The view at each frame of the video, degrees."""
    times, angle = yaw_deg(seed, SECONDS)
    return np.interp(np.arange(SECONDS * FPS) / FPS, times, angle)


def rows(seed: int = 1) -> list[dict[str, Any]]:
    """The log of that view."""
    return [
        {"time": i / FPS, "player": {"angle_deg": float(a), "position": [i, 0, 0]}, "hp": i}
        for i, a in enumerate(angles(seed))
    ]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A view that turns in front of a textured wall."""
    path = tmp_path_factory.mktemp("turning") / "clip.mp4"
    rng = np.random.default_rng(3)
    wall = cv2.GaussianBlur(rng.integers(0, 255, (140, 4000), np.uint8), (0, 0), 2)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE
        for angle in angles(1):
            middle = (SCALE * angle + 2000.0, 70.0)
            view = cv2.getRectSubPix(wall, SIZE, middle)
            picture = av.VideoFrame.from_ndarray(cv2.cvtColor(view, cv2.COLOR_GRAY2RGB))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.fixture
def process(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[str | bytes], tuple[int, str, dict[str, Any] | None]]:
    """Runs `stpe process --state` with a log of that content: exit code, stderr, certificate."""

    def run(content: str | bytes) -> tuple[int, str, dict[str, Any] | None]:
        log = tmp_path / "log.jsonl"
        log.write_bytes(content.encode() if isinstance(content, str) else content)
        out = tmp_path / "ds"
        code = cli.run(
            ["process", str(clip), "--out", str(out), "--state", str(log), "--replace", *ONLY]
        )
        err = capsys.readouterr().err
        assert "Traceback" not in err
        if code:
            return code, err, None
        stored = open_dataset(out).arrow("videos", columns=["alignment"])["alignment"][0].as_py()
        frames = open_dataset(out).arrow("frames", columns=["state", "alignment"])
        found = json.loads(stored)
        matched = [s is not None for s in frames["state"].to_pylist()]
        assert any(matched) == (found["verdict"] == "aligned")
        assert ("unaligned" in frames["alignment"].to_pylist()) == (not all(matched))
        return code, err, found

    return run


def text(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


def later(seconds: float) -> list[dict[str, Any]]:
    return [{**r, "time": r["time"] + seconds} for r in rows()]


def angled(change: Callable[[float], float], records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**r, "player": {**r["player"], "angle_deg": change(r["player"]["angle_deg"])}}
        for r in records
    ]


def test_a_late_log_whole_and_damaged_is_aligned_and_the_damage_named(process: Any) -> None:
    for name, content in {
        "whole": text(later(0.8)),
        "milliseconds": text([{**r, "time": 1e3 * r["time"]} for r in later(0.8)]),
        "unsorted": text([*later(0.8)[:50], *later(0.8)[50:60][::-1], *later(0.8)[60:]]),
        "cut off": text(later(0.8))[:-20],
        "first half": text(later(0.8)[: FPS * SECONDS * 2 // 3]),
        "radians": text(angled(np.radians, later(0.8))),
        "some angles NaN": text(angled(lambda a: a if int(a) % 7 else float("nan"), later(0.8))),
        "some times NaN": text([{**r, "time": r["time"] if r["hp"] % 20 else float("nan")}
                                for r in later(0.8)]),
    }.items():  # fmt: skip
        code, err, found = process(content)
        assert code == 0, name
        assert found["verdict"] == "aligned", (name, found["reason"])
        assert found["lag_ms"] == pytest.approx(800, abs=15), name
        assert found["confirmed"], name
        said = " ".join((*found["repairs"], *found["notes"]))
        assert {
            "milliseconds": "milliseconds",
            "unsorted": "9 of 350 rows were out of order",
            "cut off": "cut off",
            "radians": "in radians, though its name says degrees",
            "some times NaN": "18 rows without a time",
        }.get(name, "") in said
        assert (found["matched_share"] < 0.8) == (name == "first half")
        if name == "unsorted":
            assert found["reordered"]["count"] == 9
        assert "aligned by estimated" in err


def test_what_cannot_be_this_videos_log_is_unaligned(process: Any) -> None:
    twice = [{**r, "time": r["time"] / 2} for r in later(0.8)]
    jump = [{**r, "time": r["time"] + 0.5 * (r["hp"] > 180)} for r in later(0.8)]
    still = angled(lambda a: 90.0, later(0.8))
    for name, records in {
        "another video": [{**r, "time": r["time"] + 0.8} for r in rows(7)],
        "another video's, same length": rows(7),
        "another video's, numbered": [{**r, "frame": r["hp"]} for r in rows(7)],
        "twice the speed": twice,
        "a clock that jumps": jump,
        "nothing moves": still,
        "all angles NaN": angled(lambda a: float("nan"), later(0.8)),
        "seconds called milliseconds": [
            {"time_ms": r["time"], "player": r["player"]} for r in later(0.8)
        ],
    }.items():
        code, err, found = process(text(records))
        assert code == 0, name
        assert found["verdict"] == "unaligned", (name, found["reason"])
        assert found["matched_share"] == 0, name
        assert "state log: unaligned: " in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02" * 50, "no known format"),
        (b"PAR1 and then nothing", "damaged Parquet"),
        (b"\x89MCAP0\r\n and then nothing", "damaged MCAP"),
        (b'[{"time": 0}, {"ti', "not JSON"),
        (text(rows()).replace("}", "", 300).encode(), "no JSON object"),
        (text(rows() + rows()).encode(), "clock starts again"),
        (text([r for a, b in zip(rows(), later(77.7), strict=True) for r in (a, b)]).encode(),
         "rows of 2 clocks, about 77.7 s apart, are mixed"),
        (text([{**r, "time": float("nan")} for r in rows()]).encode(), "no time that is a number"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_used_is_one_line(process: Any, content: bytes, says: str) -> None:
    if b"MCAP" in content:
        pytest.importorskip("mcap")
    code, err, _ = process(content)
    assert code == 1
    errors = [line for line in err.splitlines() if line.startswith("stpe: error: ")]
    assert len(errors) == 1
    assert says in errors[0]


def test_missing_log_through_the_api(clip: Path, tmp_path: Path) -> None:
    with Engine("embedded") as engine, pytest.raises(SourceError, match="cannot read the log"):
        engine.process(clip, tmp_path / "ds", state=tmp_path / "none.json")
    assert not (tmp_path / "ds" / "dataset.json").exists()


def test_rows_that_were_only_shuffled_are_sorted(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(rows()))
    (tmp_path / "log.jsonl").write_text(text([rows()[i] for i in order]))
    log = read_log(tmp_path / "log.jsonl")
    assert [row.state["hp"] for row in log.rows] == list(range(SECONDS * FPS))


def test_align_says_the_same(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    missing = (40, 41, 200)
    kept = [{**r, "frame": r["hp"]} for r in rows() if r["hp"] not in missing]
    kept.insert(100, kept[99])
    kept[150], kept[151] = kept[151], kept[150]
    log.write_text(text(kept))
    assert cli.run(["align", str(clip), str(log), "--profile", "embedded", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["method"], found["confirmed"]) == ("aligned", "frame", True)
    assert found["dropped"] == {"count": 3, "first": list(missing)}
    assert found["duplicated"]["count"] == 1
    assert found["reordered"]["count"] == 1
    log.write_text(text(rows(7)))
    assert cli.run(["align", str(clip), str(log), "--profile", "embedded"]) == 1
    assert capsys.readouterr().out.startswith("unaligned: ")
