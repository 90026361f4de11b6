"""Inputs that once failed, each made, run through the command line, and compared.

    python benchmarks/cases.py FOLDER [NAME ...]

FOLDER holds a folder a case with a generator (`make.py` or `make.sh`, which needs ffmpeg) and
`expected.json`. Prints a row a check: case, input, right value, seen, and ok or WRONG. Exit code 1
if anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from stpe.cli import run
from stpe.dataset import open_dataset
from stpe.errors import StpeError
from stpe.evaluate.labels.recognise import read_truth
from stpe.state.reading import read_log

Check = Iterator[tuple[str, Any, Any, bool]]
CASES: dict[str, Callable[[Path, Any], Check]] = {}


def case(name: str) -> Callable[[Callable[[Path, Any], Check]], Callable[[Path, Any], Check]]:
    """Register the check of one folder: (input, right, seen, ok) a row, in the folder made."""

    def keep(check: Callable[[Path, Any], Check]) -> Callable[[Path, Any], Check]:
        CASES[name] = check
        return check

    return keep


def stpe(*words: str) -> tuple[int, Any, str]:
    """(exit code, JSON of stdout or None, stderr) of one call."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    text = out.getvalue()
    return code, json.loads(text) if text.lstrip().startswith(("{", "[")) else None, err.getvalue()


def processed(source: Path, signals: str, *more: str) -> tuple[Any, list[str]]:
    """The dataset made of a source, and the warnings of its video."""
    out = source.parent / f"{source.name}.ds"
    words = ["process", source, "--out", out, "--profile", "embedded", "--json"]
    code, result, err = stpe(*words, "--signals", signals, *more)
    if code:
        raise StpeError(f"exit {code}: {' '.join(err.split())[-200:]}")
    return open_dataset(out), result["videos"][0]["warnings"]


def pts(dataset: Any) -> list[float]:
    return [float(t) for t in dataset.arrow("frames", columns=["pts"])["pts"].to_pylist()]


def video(dataset: Any, column: str) -> Any:
    return dataset.arrow("videos", columns=[column])[column][0].as_py()


@case("cuts-in-seconds")
def cuts_in_seconds(folder: Path, expected: Any) -> Check:
    try:
        seen: Any = read_truth(folder / "cuts.json")
    except StpeError as error:
        seen = f"refused: {error}"
    yield "cuts.json", "refused", str(seen)[:90], str(seen).startswith("refused")


@case("half-jpeg")
def half_jpeg(folder: Path, expected: Any) -> Check:
    _, warnings = processed(folder / "trunc_jpg", "frames.pts")
    named = any("002.jpg" in warning for warning in warnings)
    yield "trunc_jpg", "a warning names 002.jpg", "; ".join(warnings)[:120], named


@case("header-claims")
def header_claims(folder: Path, expected: Any) -> Check:
    for name, right in expected.items():
        _, warnings = processed(folder / name, "frames.pts")
        alarms = [w for w in warnings if "claim" in w or "break" in w or "decoded" in w]
        wanted = not right.startswith("no warning")
        yield (
            name,
            right.split(" (")[0],
            "; ".join(warnings)[:120] or "none",
            (bool(alarms or warnings) == wanted),
        )


@case("held-last-picture")
def held_last_picture(folder: Path, expected: Any) -> Check:
    for name in ("hold.mp4", "delays.gif"):
        right = expected[name]
        dataset, warnings = processed(folder / name, "shots,frames.pts", "--fps", "2")
        index = dataset.arrow("frames", columns=["frame_index"])["frame_index"].to_pylist()
        end = dataset.arrow("shots", columns=["end_pts"])["end_pts"].to_pylist()[-1]
        seen = video(dataset, "duration_s")
        held = right["analysed_frames_must_contain"] in index
        ok = abs(seen - right["duration_s"]) < 0.02 and abs(end - right["duration_s"]) < 0.02
        shown = f"{seen:.2f} s, shot ends {end:.2f}, frames {index}, warnings {warnings}"
        yield name, f"{right['duration_s']} s", shown, ok and held and not warnings


@case("image-clock-units")
def image_clock_units(folder: Path, expected: Any) -> Check:
    for name in ("ns_times", "ms_times", "rec_ms"):
        right = expected[name]
        dataset, _ = processed(folder / name, "frames.pts", "--fps", "native")
        steps = np.diff(pts(dataset))
        seen = video(dataset, "duration_s")
        ok = abs(seen - right["duration_s"]) < 2e-3 and np.allclose(
            steps, right["step_s"], atol=1e-3
        )
        yield (
            name,
            f"{right['duration_s']} s",
            f"{seen:.4f} s, step {np.median(steps):.4f}",
            bool(ok),
        )


@case("log-units")
def log_units(folder: Path, expected: Any) -> Check:
    for name, right in expected.items():
        rows = read_log(folder / name).rows
        step = float(rows[1].time - rows[0].time)
        wanted = right.get("row1_s", right.get("step_s"))
        yield name, f"{wanted} s", f"{step:.6f} s", abs(step - wanted) < 1e-3 * max(wanted, 0.1)


@case("masks-begin-late")
def masks_begin_late(folder: Path, expected: Any) -> Check:
    first = min(n for n, there in (read_truth(folder / "late").objects or {}).items() if there)
    yield "late", expected["first_labelled_frame"], first, first == expected["first_labelled_frame"]


@case("mot-columns")
def mot_columns(folder: Path, expected: Any) -> Check:
    for name in ("mot8.txt", "visdrone.txt"):
        try:
            (found,) = (read_truth(folder / name).objects or {})[0]
            seen = f"{found.label} {found.box_xyxy}"
        except StpeError as error:
            seen = f"refused: {' '.join(str(error).split())[:100]}"
        ok = seen.startswith("refused") or (name == "mot8.txt" and "9.5" in seen)
        yield name, expected[name], seen, ok or ("car" in seen and "person" not in seen)


@case("nan-state")
def nan_state(folder: Path, expected: Any) -> Check:
    dataset, _ = processed(folder / "rbx_nan.zip", "frames.state", "--fps", "native")
    state = dataset.arrow("frames", columns=["state"])["state"].to_pylist()[0]
    yield (
        "frames.state",
        "strict JSON, health null",
        state[:80],
        _strict(state)["player"]["health"] is None,
    )
    for name in ("analysis", "webdataset"):
        out = folder / f"out-{name}"
        code, _, err = stpe("export", dataset.path, "--format", name, "--out", out)
        data = b"".join(p.read_bytes() for p in [out, *out.rglob("*")] if p.is_file())
        yield name, "no NaN", f"exit {code} {err[-60:].strip()}", code == 0 and b"NaN" not in data


@case("one-based-records")
def one_based_records(folder: Path, expected: Any) -> Check:
    dataset, _ = processed(folder / "rec1", "frames.state", "--fps", "native")
    states = dataset.arrow("frames", columns=["state"])["state"].to_pylist()
    seen = [None if state is None else json.loads(state).get("hp") for state in states]
    yield "rec1", expected["hp_by_frame"], seen, seen == expected["hp_by_frame"]


@case("parquet-bytes")
def parquet_bytes(folder: Path, expected: Any) -> Check:
    base = folder / "base.mp4"
    ffmpeg = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i"]
    made = [*ffmpeg, "testsrc2=size=320x180:rate=30:duration=3", "-pix_fmt", "yuv420p", str(base)]
    subprocess.run(made, check=True)
    for name, keys in (("binary", {"time", "hp"}), ("date", {"time", "day"})):
        log = folder / f"{name}.parquet"
        out = folder / f"{name}.ds"
        words = ["process", base, "--out", out, "--profile", "embedded", "--state", log]
        code, _, err = stpe(*words, "--signals", "frames.state", "--fps", "native")
        seen = f"exit {code}: {' '.join(err.split())[-100:]}"
        if code == 0:
            state = open_dataset(out).arrow("frames", columns=["state"])["state"].to_pylist()[0]
            seen = f"exit 0, {state}"
        yield (
            log.name,
            f"exit 0, {sorted(keys)}",
            seen,
            code == 0 and set(json.loads(state)) == keys,
        )


@case("pass-packed-images")
def packed_images(folder: Path, expected: Any) -> Check:
    for name in ("nat", "exif", "mac.zip", "win.zip", "deep.zip", "cmyk"):
        dataset, _ = processed(folder / name, "frames.pts", "--fps", "native")
        count, size = len(pts(dataset)), (video(dataset, "width"), video(dataset, "height"))
        wanted = {"nat": 12, "cmyk": 3}.get(name, 4)
        ok = count == wanted and (name != "exif" or size == (64, 96))
        yield name, wanted, f"{count} frames, {size[0]}x{size[1]}", ok


@case("pass-random-access")
def random_access(folder: Path, expected: Any) -> Check:
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        dataset, _ = processed(path, "frames.pts", "--fps", "native")
        (video_id,) = dataset.videos
        rows = dataset.arrow("frames", columns=["frame_index", "pts"])
        index, times = (column.to_pylist() for column in rows.columns)
        order = np.random.default_rng(0).permutation(len(index))[:60].tolist()
        with contextlib.closing(dataset.frame_reader(video_id)) as reader:
            found = [reader.frames([index[n]], [times[n]])[0] for n in order]
        with av.open(str(path)) as container:
            frames = enumerate(container.decode(video=0))
            straight = {n: f.to_ndarray(format="rgb24") for n, f in frames if n in set(order)}
        same = [a.shape == straight[n].shape and np.abs(a.astype(int) - straight[n]).mean() < 2
                for n, a in zip(order, found, strict=True)]  # fmt: skip
        yield path.name, "60 frames as decoded from the start", f"{sum(same)} of 60", all(same)


@case("pass-shots")
def pass_shots(folder: Path, expected: Any) -> Check:
    yield from _shots_at(folder, {n: v for n, v in expected.items() if (folder / n).exists()})


@case("slow-and-fast-shots")
def slow_and_fast(folder: Path, expected: Any) -> Check:
    yield from _shots_at(folder, {n: v for n, v in expected.items() if n != "seen"})


@case("title-cards")
def title_cards(folder: Path, expected: Any) -> Check:
    yield from _shots_at(folder, {"cards.mp4": [48, 96]})


def _shots_at(folder: Path, expected: dict[str, Any]) -> Check:
    for name, right in expected.items():
        dataset, _ = processed(folder / name, "shots")
        starts = dataset.arrow("shots", columns=["start_frame"])["start_frame"].to_pylist()
        ok = len(starts) == right if isinstance(right, int) else starts[1:] == right
        yield name, right if isinstance(right, int) else f"cuts {right}", f"starts {starts}", ok


@case("pass-time-bases")
def time_bases(folder: Path, expected: Any) -> Check:
    right = {"vfr.mp4": (50, None), "rot90.mov": (90, None), "late2.mp4": (90, 1.233),
             "skipb.avi": (59, None), "live.mkv": (90, 0.0), "frag.mp4": (90, 0.0),
             "noidx.avi": (90, 0.0)}  # fmt: skip
    for name, (count, start) in right.items():
        if not (folder / name).exists():
            continue
        dataset, _ = processed(folder / name, "frames.pts", "--fps", "native")
        times = pts(dataset)
        ok = len(times) == count and (start is None or abs(times[0] - start) < 0.05)
        ok = ok and (name != "rot90.mov" or video(dataset, "width") == 180)
        yield name, expected[name], f"{len(times)} frames, {times[0]:.3f} to {times[-1]:.3f}", ok


@case("pass-truth")
def pass_truth(folder: Path, expected: Any) -> Check:
    (found,) = (read_truth(folder / "crlf.txt").objects or {})[0]
    seen = f"{found.label} {found.box_xyxy}"
    yield "crlf.txt", expected["crlf.txt"], seen, "9.5" in seen and "79.25" in seen


@case("pixel-shape")
def pixel_shape(folder: Path, expected: Any) -> Check:
    for name in ("sar.mp4", "sar.mpg"):
        dataset, warnings = processed(folder / name, "frames.pts")
        size = {"width": video(dataset, "width"), "height": video(dataset, "height")}
        yield name, expected[name], f"{size}, {warnings}"[:120], size == expected[name]


@case("poses-and-start")
def poses_and_start(folder: Path, expected: Any) -> Check:
    for name in ("pan.mp4", "pan.ts", "seq"):
        signals = "frames.camera_to_world"
        more = ("--camera", str(folder / "tum.txt"), "--fps", "2")
        dataset, _ = processed(folder / name, signals, *more)
        poses = dataset.arrow("frames", columns=["camera_to_world"])["camera_to_world"].to_pylist()
        seen = [None if pose is None else round(pose[3], 2) for pose in poses]
        ok = None not in seen and np.allclose(seen, expected[name][: len(seen)], atol=0.05)
        yield name, expected[name], seen, bool(ok) and len(seen) == len(expected[name])


@case("raw-stream-rate")
def raw_stream_rate(folder: Path, expected: Any) -> Check:
    for name, right in expected.items():
        if name != "seen":
            dataset, _ = processed(folder / name, "frames.pts")
            seen = video(dataset, "duration_s")
            yield name, f"{right['duration_s']} s", f"{seen:.3f} s", abs(seen - 1) < 0.02


@case("two-pictures")
def two_pictures(folder: Path, expected: Any) -> Check:
    _, warnings = processed(folder / "two.mp4", "frames.pts")
    yield "two.mp4", expected["warnings"], warnings, any("2 video streams" in w for w in warnings)


@case("term-download")
def term_download(folder: Path, expected: Any) -> Check:
    yield from _checked(folder, ["stpe", str(_clip(folder))], lambda text: "left []" in text)


@case("wrapped-base64")
def wrapped_base64(folder: Path, expected: Any) -> Check:
    image = folder / "picture.png"
    av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), "rgb24").to_image().save(image)
    yield from _checked(folder, [str(image)], lambda text: "'embedding'" in text)


@case("pass-exports")
def pass_exports(folder: Path, expected: Any) -> Check:
    dataset, _ = processed(_clip(folder), "objects")
    code, _, err = stpe("export", dataset.path, "--format", "coco", "--out", folder / "c")
    yield "coco", "exit 0", f"exit {code} {err[-80:].strip()}", code == 0
    yield from _checked(folder, [str(folder / "c")], lambda text: "differ: 0" in text)


def _clip(folder: Path) -> Path:
    path = folder / "clip.mp4"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i"]
    source = "testsrc2=size=320x180:rate=30:duration=3"
    subprocess.run([*command, source, "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def _checked(folder: Path, words: list[str], right: Callable[[str], bool]) -> Check:
    done = subprocess.run([sys.executable, str(folder / "check.py"), *words], cwd=folder,
                          capture_output=True, text=True, check=False)  # fmt: skip
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
    seen = said[0] if said else "nothing"
    yield "check.py", "as its README says", seen[:120], right(done.stdout)


def _strict(text: str) -> Any:
    def refuse(token: str) -> None:
        raise ValueError(token)

    return json.loads(text, parse_constant=refuse)


def main() -> int:
    """Make and check every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args()
    wrong = 0
    print("| case | input | right | seen | |\n|---|---|---|---|---|")
    for name, check in CASES.items():
        if chosen.names and name not in chosen.names:
            continue
        source = chosen.folder.resolve() / name
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for maker, runner in (("make.py", sys.executable), ("make.sh", "bash")):
                if (source / maker).exists():
                    command = [runner, str(source / maker)]
                    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            for path in source.glob("check.py"):
                (folder / path.name).write_bytes(path.read_bytes())
            expected = json.loads((source / "expected.json").read_text())
            try:
                for row in check(folder, expected):
                    wrong += not row[3]
                    cells = " | ".join(str(cell).replace("|", "/") for cell in row[:3])
                    print(f"| {name} | {cells} | {'ok' if row[3] else 'WRONG'} |", flush=True)
            except Exception as error:
                wrong += 1
                print(f"| {name} | | | {type(error).__name__}: {error} | WRONG |", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
