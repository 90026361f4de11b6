"""Units of time in logs: what is named is believed, what is not is told, said or refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stpe.errors import SourceError
from stpe.state.log import StateLog
from stpe.state.reading import read_log

UNIX = 1772366400  # 2026-03-01T12:00:00Z
TICKS = 621355968000000000 + UNIX * 10**7


def log_of(tmp_path: Path, field: str, values: list) -> StateLog:
    path = tmp_path / "log.json"
    path.write_text(json.dumps([{field: v, "hp": i} for i, v in enumerate(values)]))
    return read_log(path)


@pytest.mark.parametrize(
    ("field", "per_second"),
    [("time_s", 1), ("seconds", 1), ("t_ms", 1000), ("timestampMs", 1000), ("timestamp_us", 10**6),
     ("unix_millis", 1000), ("Timestamp [ns]", 10**9), ("time_usec", 10**6), ("ticks", 10**7)],
)  # fmt: skip
def test_a_named_unit_is_believed(tmp_path: Path, field: str, per_second: int) -> None:
    for step_s in (10, 1):
        log = log_of(tmp_path, field, [i * step_s * per_second for i in range(30)])
        assert [r.time for r in log.rows] == [i * step_s for i in range(30)]
        assert (log.clock, log.repairs) == ("relative", ())


@pytest.mark.parametrize(
    ("values", "step_s", "clock"),
    [
        ([UNIX + i / 30 for i in range(90)], 1 / 30, "unix"),
        ([UNIX * 10**9 + i * 33_333_333 for i in range(90)], 1 / 30, "unix"),
        ([TICKS + i * 333_333 for i in range(90)], 1 / 30, "unix"),
        ([UNIX + i * 30 for i in range(9)], 30, "unix"),
        ([16 * i for i in range(90)], 0.016, "relative"),
        ([f"2026-03-01T13:00:0{i}.500+01:00" for i in range(9)], 1, "unix"),
        ([f"2026-03-01 12:00:0{i}.123456789Z" for i in range(9)], 1, "unix"),
        ([f"0:00:0{i}.25" for i in range(9)], 1, "relative"),
        ([str(UNIX * 1000 + 100 * i) for i in range(9)], 0.1, "unix"),
    ],
)
def test_other_units_are_told(tmp_path: Path, values: list, step_s: float, clock: str) -> None:
    log = log_of(tmp_path, "timestamp", values)
    assert log.clock == clock
    assert log.rows[8].time - log.rows[7].time == pytest.approx(step_s, abs=1e-5)
    if clock == "unix":
        assert UNIX <= log.rows[0].time < UNIX + 1


@pytest.mark.parametrize(
    ("field", "values", "says"),
    [
        ("time", [0, 12.5, 31, 58, 77, 140], "may be seconds or milliseconds"),
        ("timestamp_s", [UNIX * 1000 + 33 * i for i in range(9)], "is no time; name the unit"),
        ("ticks", list(range(90)), "not of 100 ns"),
        ("time", ["2026-03-01T12:00:00Z", 5.0] * 9, "mixes dates with numbers"),
    ],
)
def test_what_cannot_be_told_is_refused(
    tmp_path: Path, field: str, values: list, says: str
) -> None:
    with pytest.raises(SourceError, match=says):
        log_of(tmp_path, field, values)


def test_whole_seconds_are_spread_over_their_rows(tmp_path: Path) -> None:
    true = [UNIX + 0.4 + i / 30 for i in range(150)]
    log = log_of(tmp_path, "timestamp", [int(t) for t in true])
    assert [r.time for r in log.rows] == pytest.approx(true, abs=0.04)
    assert "spread evenly" in log.repairs[0]
    few = log_of(tmp_path, "timestamp", [UNIX] * 9 + [UNIX + 1] + [UNIX + 2] * 4)
    assert "known to a second" in few.repairs[0]
    assert [r.time for r in few.rows] == [UNIX] * 9 + [UNIX + 1] + [UNIX + 2] * 4


def test_columns_and_documents_say_their_unit(tmp_path: Path) -> None:
    moments = [datetime.fromtimestamp(UNIX, UTC) + timedelta(seconds=10 * i) for i in range(9)]
    tables = {
        "zoned": pa.array(moments, pa.timestamp("ns", "Europe/Berlin")),
        "local": pa.array([m.replace(tzinfo=None) for m in moments], pa.timestamp("ms")),
        "lasting": pa.array([10_000 * i for i in range(9)], pa.duration("ms")),
    }
    for name, column in tables.items():
        pq.write_table(pa.table({"time": column, "hp": range(9)}), tmp_path / "log.parquet")
        log = read_log(tmp_path / "log.parquet")
        assert [r.time - log.rows[0].time for r in log.rows] == [10 * i for i in range(9)], name
        assert log.clock == ("relative" if name == "lasting" else "unix")
        assert any("time zone" in said for said in log.repairs) == (name == "local")
    (tmp_path / "log.csv").write_text(
        "#timestamp [ns],hp\n" + "".join(f"{i * 10**10},{i}\n" for i in range(9))
    )
    assert read_log(tmp_path / "log.csv").rows[1].time == 10
    document = {"units": {"time": "ms"}, "rows": [{"time": 10_000 * i} for i in range(9)]}
    (tmp_path / "log.json").write_text(json.dumps(document))
    assert read_log(tmp_path / "log.json").rows[1].time == 10
    short = pa.array([UNIX + i / 30 for i in range(9)], pa.float32())
    pq.write_table(pa.table({"timestamp": short}), tmp_path / "log.parquet")
    with pytest.raises(SourceError, match="64-bit"):
        read_log(tmp_path / "log.parquet")
