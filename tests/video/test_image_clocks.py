"""Times and records beside images: units, wall clocks, whole seconds, and who belongs to whom."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from stpe.errors import SourceError
from stpe.video import Grid, open_source, sample

UNIX = 1772366400
NS = 1403636579763555584


def folder_of(path, count=6, first=0, name="{:06d}.png"):
    path.mkdir()
    for i in range(count):
        data = io.BytesIO()
        Image.fromarray(np.full((16, 24, 3), i, np.uint8)).save(data, "png")
        (path / name.format(i + first)).write_bytes(data.getvalue())
    return path


def read(source, **options):
    with open_source(source, **options) as opened:
        got = list(sample(opened, [Grid("all")]))
        return opened.info, [s.pts for s in got], [s.state for s in got]


@pytest.mark.parametrize(
    ("text", "step_s", "start", "said"),
    [
        ("#timestamp [ns],filename\n" + "".join(
            f"{NS + i * 50_000_000},{i:06d}.png\n" for i in range(6)), 0.05, NS / 1e9, None),
        ("".join(f"{i * 33}\n" for i in range(6)), 0.033, None, "milliseconds"),
        ("".join(f"{UNIX + i * 30}\n" for i in range(6)), 30, UNIX, "Unix seconds"),
        ("# time_us name\n" + "".join(f"{i * 10_000_000} {i:06d}.png\n" for i in range(6)),
         10, None, None),
        ("".join(f"2026-03-01 12:00:00.{i}00000000\n" for i in range(6)), 0.1, UNIX, "time zone"),
        ("".join(f"{5 - i:06d} {(5 - i) / 4}\n" for i in range(6)), 0.25, None, None),
        ("frame,timestamp_ms,filename\n" + "".join(
            f"{i},{i * 40},{i:06d}.png\n" for i in range(6)), 0.04, None, None),
    ],
)  # fmt: skip
def test_times_in_any_unit(tmp_path, text, step_s, start, said):
    folder = folder_of(tmp_path / "f")
    (folder / "timestamps.txt").write_text(text)
    info, pts, _ = read(folder)
    assert pts == pytest.approx([i * step_s for i in range(6)], abs=1e-6)
    assert info.unix_start_s == (None if start is None else pytest.approx(start))
    assert [w for w in info.warnings if said is None or said not in w] == []
    assert len(info.warnings) == (said is not None)


def test_records_with_clocks_of_other_units(tmp_path):
    folder = folder_of(tmp_path / "f")
    rows = [{"filename": f"{i:06d}.png", "timestamp": 1000 * UNIX + i * 100} for i in range(6)]
    (folder / "log.json").write_text(json.dumps({"frames": rows}))
    info, pts, _ = read(folder)
    assert pts == pytest.approx([i / 10 for i in range(6)])
    assert info.unix_start_s == UNIX
    rows = [{"filename": f"{i:06d}.png", "t_ms": i * 10_000} for i in range(6)]
    (folder / "log.json").write_text(json.dumps(rows))
    assert read(folder)[1] == [0, 10, 20, 30, 40, 50]


def test_whole_seconds_are_spread(tmp_path):
    folder = folder_of(tmp_path / "f", 40)
    true = [UNIX + 0.3 + i / 10 for i in range(40)]
    (folder / "times.txt").write_text("".join(f"{int(t)}\n" for t in true))
    info, pts, _ = read(folder)
    assert pts == pytest.approx([i / 10 for i in range(40)], abs=1e-6)
    assert any("spread evenly" in w for w in info.warnings)


@pytest.mark.parametrize(
    ("first", "numbers", "images", "said"),
    [
        (1, range(1, 7), range(6), "from 1"),
        (0, range(1, 7), range(6), "from 1"),
        (1, range(6), range(6), None),
        (10, range(10, 16), range(6), "as the images' names are"),
        (0, range(100, 106), range(6), "from 100"),
        (1, (2, 4), (1, 3), "as the images' names are"),
        (0, (2, 4), (2, 4), None),
        (0, (4, 5, 6, 7), (4, 5), "2 of 4 records"),
        (0, (2, 2), (2,), "the last counts"),
    ],
)
def test_records_find_their_images(tmp_path, first, numbers, images, said):
    folder = folder_of(tmp_path / "f", first=first, name="shot {:03d}.png")
    rows = [{"frame_idx": n, "order": i} for i, n in enumerate(numbers)]
    (folder / "log.json").write_text(json.dumps(rows))
    info, _, states = read(folder, image_fps=10)
    assert [i for i, s in enumerate(states) if s is not None] == list(images)
    assert [s["order"] for s in states if s] == sorted(s["order"] for s in states if s)
    assert len(info.warnings) == (said is not None)
    assert said is None or said in info.warnings[0]


def test_what_belongs_nowhere_is_refused(tmp_path):
    folder = folder_of(tmp_path / "f")
    (folder / "log.json").write_text(json.dumps([{"frame_idx": 90, "hp": 1}]))
    with pytest.raises(SourceError, match="belongs to any image"):
        open_source(folder)
    (folder / "log.json").unlink()
    (folder / "times.txt").write_text("0\n0.1\nsoon\n0.3\n0.4\n0.5\n")
    with pytest.raises(SourceError, match=r"line 3 of times\.txt is no time"):
        open_source(folder)
