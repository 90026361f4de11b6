"""Logs kept row by row: key names, presses, times, and what binary formats and encodings hold."""

from __future__ import annotations

import datetime
import decimal
import gzip
import hashlib
import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stpe.dataset.export import export
from stpe.dataset.reader import Dataset, open_dataset
from stpe.engine import Engine
from stpe.errors import SourceError
from stpe.state.inputs import inputs_of
from stpe.state.keys import key_name
from stpe.state.reading import read_log

FPS, FRAMES = 20, 60


def recorded(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for n in range(FRAMES):
            image = np.full((64, 96, 3), 40, np.uint8)
            image[20:40, n : n + 20] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def processed(video: Path, log: Path, out: Path) -> Dataset:
    with Engine("embedded") as engine:
        engine.process(video, out, signals=["frames.state"], state=log)
    return open_dataset(out)


def test_keys_have_one_name_whoever_recorded_them() -> None:
    for same in ([87, "windows"], [17, "evdev"], ["KeyW"], ["w"], ["KEY_W"], ["Enum.KeyCode.W"],
                 ["'w'"], ["key.keyboard.w"], ["K_w"], ["SDL_SCANCODE_W"]):  # fmt: skip
        assert key_name(*same) == "W"
    for same in ([160, "windows"], ["Key.shift_l"], ["LeftShift"], ["Shift_L"], ["ShiftLeft"],
                 ["key.keyboard.left.shift"], ["KEY_LEFTSHIFT"], [42, "evdev"]):  # fmt: skip
        assert key_name(*same) == "ShiftLeft"
    assert [key_name(k) for k in ("One", "Digit1", "Alpha1", "1")] == ["1"] * 4
    assert [key_name(k) for k in ("MouseButton1", "BTN_LEFT", "Button.left")][:2] == [
        "MouseLeft"
    ] * 2
    assert (key_name("MOVE_FORWARD"), key_name(255, "windows")) == ("MOVE_FORWARD", "VK255")


EVENTS = {
    "browser": [{"event": "keydown", "code": "KeyW"}, {"event": "keydown", "code": "KeyW",
                "repeat": True}, {"event": "keyup", "code": "KeyW"}],
    "pynput": [{"event": "press", "key": "'w'"}, {"event": "release", "key": "'w'"}],
    "windows": [{"event_type": "press", "vk": 87}, {"event_type": "release", "vk": 87}],
    "evdev": [{"type": "EV_KEY", "code": "KEY_W", "value": 1}, {"type": "EV_KEY", "code": 17,
              "value": 2}, {"type": "EV_KEY", "code": 17, "value": 0}],
    "held": [{"inputs": []}, {"inputs": ["W"]}, {"inputs": ["W"]}, {"inputs": []}],
    "switches": [{"keys": {"w": False}}, {"keys": {"w": True}}, {"keys": {"w": False}}],
    "minecraft": [{"keyboard": {"keys": []}, "mouse": {"dx": 1.0, "dy": 0, "buttons": [],
                  "newButtons": []}}, {"keyboard": {"keys": ["key.keyboard.w"]}},
                  {"keyboard": {"keys": []}}],
    "csv": [{"keys": ""}, {"keys": "w"}, {"keys": ""}],
}  # fmt: skip


@pytest.mark.parametrize("kind", EVENTS)
def test_presses_and_releases_of_every_recorder(kind: str) -> None:
    rows = inputs_of(EVENTS[kind])
    assert [k for r in rows for k in r.pressed] == ["W"]
    assert [k for r in rows for k in r.released] == ["W"]
    assert rows[-1].held == ()


def test_mouse_wheel_and_gamepad() -> None:
    rows = inputs_of([
        {"mouse": {"event_type": "move", "x": 5, "y": 7}},
        {"mouse": {"event_type": "move", "x": 8, "y": 3}},
        {"mouse": {"event_type": "click", "x": 8, "y": 3, "button": "right", "pressed": True}},
        {"mouse": {"event_type": "scroll", "x": 8, "y": 3, "dx": 0, "dy": -1}},
        {"gamepad": {"axes": [0.5, -1], "buttons": ["ButtonA"]}},
    ])  # fmt: skip
    assert (rows[1].pointer, rows[1].move) == ((8, 3), (3, -4))
    assert (rows[2].pressed, rows[3].wheel) == (("MouseRight",), (0, -1))
    assert rows[4].axes == {"axes_0": 0.5, "axes_1": -1}
    raw = [{"mouse/raw": {"last_x": 3, "last_y": -2, "button_flags": 1}}]
    assert (inputs_of(raw)[0].move, inputs_of(raw)[0].pressed) == ((3, -2), ("MouseLeft",))


def test_every_press_of_a_log_is_in_a_frame(tmp_path: Path) -> None:
    """Keys tapped between analysed frames, which `frames.state` cannot hold."""
    video = recorded(tmp_path / "play.mp4")
    held = [["W"] if 3 <= n < 30 else ["Space"] if n % 4 == 0 else [] for n in range(FRAMES)]
    rows = [{"frame": n, "time": n / FPS, "inputs": keys, "camera": {"yaw_deg": 2.0 * n}}
            for n, keys in enumerate(held)]  # fmt: skip
    log = tmp_path / "play.json"
    log.write_text(json.dumps(rows))
    ds = processed(video, log, tmp_path / "ds")
    table = ds.arrow("states")
    assert table["pts"].to_pylist() == pytest.approx([n / FPS for n in range(FRAMES)])
    assert table["frame_index"].to_pylist() == list(range(FRAMES))
    assert [json.loads(s) for s in table["state"].to_pylist()] == rows
    assert table["log_time"].to_pylist()[7] == repr(7 / FPS)
    pressed = sum(len(keys) for keys in table["keys_pressed"].to_pylist())
    wanted = sum(len(set(b) - set(a)) for a, b in pairwise(held))
    assert pressed == wanted > 5
    assert ds.keys == ("Space", "W")
    for fps in ("native", None):
        clips = ds.clips(["pixels", "actions"], fps=fps, length=1)
        assert sum(int(np.asarray(c["actions.keys_pressed"]).sum()) for c in clips) == wanted
    clips = ds.clips(["pixels", "actions", "frames.state"], fps="native", length=8, stride=8)
    clip = clips[0]
    assert np.asarray(clip["frame_index"]).tolist() == list(range(8))
    assert np.asarray(clip["pixels"]).shape == (8, 64, 96, 3)
    down = np.asarray(clip["actions.keys_held"])
    assert down[:, clips.keys.index("W")].tolist() == [False] * 3 + [True] * 5
    assert down[:, clips.keys.index("Space")].tolist() == [True] + [False] * 7
    turn = np.asarray(clip["actions.camera_turn_deg"])
    assert turn[1:, 0].tolist() == pytest.approx([2.0] * 7)
    assert np.asarray(clip["actions.known"]).all()
    (row,) = ds.arrow("videos", columns=["state_sha256", "keys"]).to_pylist()
    assert row == {"state_sha256": hashlib.sha256(log.read_bytes()).hexdigest(),
                   "keys": ["Space", "W"]}  # fmt: skip
    kept = tmp_path / "ds" / "media" / f"{row['state_sha256']}.json"
    assert kept.read_bytes() == log.read_bytes()
    export(ds, "parquet", tmp_path / "pq")


def test_a_log_that_does_not_fit_is_kept_and_has_no_place(tmp_path: Path) -> None:
    video = recorded(tmp_path / "play.mp4")
    log = tmp_path / "other.csv"
    lines = [f"{100 + n / 7},{'W' if n % 2 else ''}" for n in range(500)]
    log.write_text("time,keys\n" + "\n".join(lines))
    ds = processed(video, log, tmp_path / "ds")
    rows = ds.arrow("states")
    assert rows.num_rows == 500
    assert rows["pts"].null_count == rows["frame_index"].null_count == 500
    assert set(rows["alignment"].to_pylist()) == {"unaligned"}
    clip = ds.clips(["actions"], fps="native", length=FRAMES)[0]
    assert not np.asarray(clip["actions.known"]).any()
    assert not np.asarray(clip["actions.keys_held"]).any()


@pytest.mark.parametrize("version", ["0.3.2", "0.4.2", "0.5.1"])
def test_every_press_of_a_desktop_recording(
    shared_data: Path, tmp_path: Path, version: str
) -> None:
    pytest.importorskip("mcap")
    folder = shared_data / "owa_screen_recordings"
    presses = {"0.3.2": 13, "0.4.2": 13, "0.5.1": 11}[version]
    ds = processed(folder / f"{version}.mkv", folder / f"{version}.mcap", tmp_path / "ds")
    clips = ds.clips(["actions"], fps="native", length=1)
    keyboard = [n for n, name in enumerate(clips.keys) if not name.startswith("Mouse")]
    found = sum(int(np.asarray(c["actions.keys_pressed"])[:, keyboard].sum()) for c in clips)
    assert found == presses
    typed = [k for row in ds.arrow("states")["keys_pressed"].to_pylist() for k in row]
    assert [k for k in typed if k != "MouseLeft"][:8] == [
        "T",
        "E",
        "S",
        "T",
        "Space",
        "T",
        "E",
        "X",
    ]


def test_a_table_with_bytes_dates_and_decimals(tmp_path: Path) -> None:
    video = recorded(tmp_path / "play.mp4")
    count = FRAMES
    table = pa.table({
        "time": [n / FPS for n in range(count)],
        "img": [b"\xff\xd8"] * count,
        "day": [datetime.date(2026, 3, 1)] * count,
        "clock": pa.array([datetime.time(1, 2, 3)] * count),
        "price": [decimal.Decimal("1.25")] * count,
        "took": pa.array([datetime.timedelta(seconds=2)] * count),
        "speed": [float("nan")] * count,
        "nested": [{"blob": b"x", "hp": 3}] * count,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "log.parquet")
    ds = processed(video, tmp_path / "log.parquet", tmp_path / "ds")
    state = json.loads(ds.arrow("frames")["state"][0].as_py(), parse_constant=pytest.fail)
    assert "img" not in state
    assert state["day"] == "2026-03-01"
    assert (state["clock"], state["price"], state["speed"]) == ("01:02:03", 1.25, None)
    assert state["nested"] == {"hp": 3}
    said = json.loads(ds.arrow("videos")["alignment"][0].as_py())["repairs"]
    assert any("img, nested.blob: bytes were left out" in line for line in said)
    assert any("speed: NaN or infinity became null" in line for line in said)


TEXT = json.dumps([{"time": n / 20, "name": "Größe"} for n in range(30)], ensure_ascii=False)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TEXT.encode("utf-16"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16-LE"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (TEXT.encode("latin-1"), "Latin-1"),
        (TEXT.encode("utf-8-sig"), None),
        (gzip.compress(TEXT.encode()), "gzip"),
        (gzip.compress(TEXT.encode("utf-16")), "UTF-16"),
        (b"zeit;time;name\n" + "".join(
            f"1,5;{n / 20:.2f};Größe\n".replace(".", ",") for n in range(30)).encode("cp1252"),
         "Latin-1"),
    ],
)  # fmt: skip
def test_a_log_in_another_encoding(tmp_path: Path, data: bytes, said: str | None) -> None:
    (tmp_path / "log").write_bytes(data)
    log = read_log(tmp_path / "log")
    assert (len(log.rows), log.rows[7].state["name"]) == (30, "Größe")
    assert log.rows[7].time == pytest.approx(7 / 20)
    assert said is None or any(said in line for line in log.repairs)


@pytest.mark.parametrize("data", [gzip.compress(b"[" * 500, mtime=0)[:-12], b"\x00\x01\x02" * 99,
                                  b"\x28\xb5\x2f\xfd1234"])  # fmt: skip
def test_what_is_no_log_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "log").write_bytes(data)
    with pytest.raises(SourceError) as caught:
        read_log(tmp_path / "log")
    assert "\n" not in str(caught.value)
