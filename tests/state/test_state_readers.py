"""Logs of every format, whole and damaged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stpe.errors import SourceError
from stpe.state.log import StateLog
from stpe.state.reading import read_log

RECORDS = [
    {"time": i / 20, "frame": i, "player": {"angle_deg": 2.0 * i, "odd": [i, "x"]}, "hp": 100 - i}
    for i in range(40)
]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def lines(records: list[dict]) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


def times(log: StateLog) -> list[float | None]:
    return [row.time for row in log.rows]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    flat = [
        {"time": r["time"], "frame": r["frame"], "hp": r["hp"],
         "player.angle_deg": r["player"]["angle_deg"]} for r in RECORDS
    ]  # fmt: skip
    table = pa.Table.from_pylist(flat)
    pyarrow.csv.write_csv(table, tmp_path / "log.csv")
    pq.write_table(table, tmp_path / "log.parquet")
    write(tmp_path / "log.json", json.dumps(RECORDS, indent=1))
    write(tmp_path / "wrapped.json", json.dumps({"units": {"hp": "points"}, "frames": RECORDS}))
    write(tmp_path / "log.jsonl", lines(RECORDS))
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        for i, record in enumerate(RECORDS):
            write(tmp_path / "folder" / f"frame_{i}.json", json.dumps(record))
            archive.writestr(f"frame_{i}.json", json.dumps({"roblox_metadata": record}))
    found = {
        name: read_log(tmp_path / name)
        for name in ("log.csv", "log.parquet", "log.json", "wrapped.json", "log.jsonl", "folder",
                     "log.zip")
    }  # fmt: skip
    for name, log in found.items():
        assert times(log) == [r["time"] for r in RECORDS], name
        assert [row.frame for row in log.rows] == list(range(40)), name
        assert (log.clock, log.repairs) == ("relative", ()), name
        assert log.rows[7].state["player"]["angle_deg"] == 14.0, name
        assert log.rows[7].state["hp"] == 93, name
    assert found["log.json"].rows[3].state == RECORDS[3]
    assert found["wrapped.json"].units == {"hp": "points"}
    assert len({log.sha256 for log in found.values()}) == len(found)


def test_a_units_mistake_and_disorder_are_mended_and_said(tmp_path: Path) -> None:
    for scale in (1e3, 1e6, 1e9):
        for origin, clock in ((0.0, "relative"), (1.7e9, "unix")):
            rows = [{**r, "time": (origin + r["time"]) * scale} for r in RECORDS]
            log = read_log(write(tmp_path / "log.jsonl", lines(rows)))
            assert log.clock == clock
            assert log.rows[20].time == pytest.approx(origin + 1.0, abs=1e-5)
            assert "seconds" in log.repairs[0]
    swapped = [*RECORDS[:10], RECORDS[11], RECORDS[10], *RECORDS[12:]]
    log = read_log(write(tmp_path / "log.jsonl", lines(swapped)))
    assert [row.frame for row in log.rows] == list(range(40))
    assert log.reordered == (11,)
    assert "out of order" in log.repairs[0]
    no_frame = [{"time": r["time"], "hp": 1} for r in RECORDS]
    no_frame[5]["time"] = float("nan")
    log = read_log(write(tmp_path / "log.jsonl", lines(no_frame)))
    assert len(log.rows) == 39
    assert "left out" in log.repairs[0]
    log = read_log(write(tmp_path / "log.jsonl", lines(RECORDS)[:-9]))
    assert len(log.rows) == 39
    assert "cut off" in log.repairs[0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty", b"", "is empty"),
        ("blank.json", b"[]", "holds no row"),
        ("cut.json", b'[{"time": 0}, {"ti', "is not JSON"),
        ("number.json", b"[1, 2]", "no array of records"),
        ("middle.jsonl", b'{"time": 0}\n{"ti\n{"time": 2}\n', "line 2"),
        ("bare.jsonl", b'{"hp": 0}\n{"hp": 2}\n', "neither times nor frame numbers"),
        ("nan.jsonl", b'{"time": NaN}\n{"time": NaN}\n{"time": 1}\n', "no time that is a number"),
        ("cut.parquet", b"PAR1 and then nothing", "damaged Parquet"),
        ("ragged.csv", b"time,hp\n1,2\n3,4,5\n", "no CSV"),
        ("noise", b"\x00\x01\x02" * 50, "no known format"),
        ("bad.zip", b"PK\x03\x04" + b"x" * 60, "damaged ZIP"),
    ],
)
def test_a_bad_log_gives_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        read_log(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_two_recordings_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="starts again at row 41"):
        read_log(write(tmp_path / "log.jsonl", lines(RECORDS + RECORDS)))
    with pytest.raises(SourceError, match="cannot read the log"):
        read_log(tmp_path / "none.json")


def test_the_prototypes_record(shared_data: Path) -> None:
    log = read_log(shared_data / "prototype_outputs" / "roblox_walking_analysis.json")
    assert log.clock == "unix"
    assert len(log.rows) == 17
    assert log.rows[0].state["humanoid_state"] == "Running"
    assert log.rows[0].time == 1765616658.5261


def test_a_lerobot_episode(shared_data: Path) -> None:
    episode = "lerobot_g1_v21_subset/data/chunk-000/episode_000030.parquet"
    log = read_log(shared_data / episode)
    assert (log.kind, log.clock, len(log.rows)) == ("lerobot", "video", 277)
    assert len(log.rows[0].state["observation"]["state"]) == 26
    assert [row.frame for row in log.rows] == list(range(277))


def test_desktop_recordings(shared_data: Path) -> None:
    pytest.importorskip("mcap")
    for version, count in (("0.3.2", 49), ("0.4.2", 33), ("0.5.1", 17)):
        log = read_log(shared_data / "owa_screen_recordings" / f"{version}.mcap")
        assert (log.kind, log.clock, len(log.rows)) == ("mcap", "video", count)
        pressed = [
            event["vk"]
            for row in log.rows
            for event in row.state.get("keyboard_events", ())
            if event["event_type"] == "press"
        ]
        assert bytes(pressed[:4]) == b"TEST"
        assert log.rows[-1].state["window"]["title"].strip("*").startswith("test.txt")


def test_a_damaged_desktop_recording(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcap")
    data = (shared_data / "owa_screen_recordings" / "0.5.1.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="damaged MCAP"):
        read_log(tmp_path / "cut.mcap")
