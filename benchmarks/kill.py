"""`kill -9` at random moments of a run, resumed each time: is the dataset the uninterrupted one?

    python benchmarks/kill.py                     toy stages on a generated clip, about a minute
    python benchmarks/kill.py --video clip.mp4    the default plan on a file

Each killed run is continued by the next until one ends; then the dataset is compared with that of
an uninterrupted run, in every table and column but `artifacts.seconds`, and a new one is begun.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa

from stpe.dataset.reader import open_dataset

TOYS = Path(__file__).resolve().parents[1] / "tests" / "pipeline"
sys.path.append(str(TOYS))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--video", type=Path, help="process this with the default plan")
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.video is None:
            import toys

            clip = toys.write_clip(folder / "clip.mp4", 60)
            program = [sys.executable, str(TOYS / "toys.py")]
        else:
            clip = chosen.video
            program = [sys.executable, "-c", "from stpe.cli import main; main()"]
        command = [*program, "process", str(clip), "--profile", "embedded", "--out"]
        begun = time.monotonic()
        if run(command, folder / "whole") != 0:
            print("the uninterrupted run failed")
            return 1
        lasts_s = time.monotonic() - begun
        expected = tables(folder / "whole")
        print(f"uninterrupted: {lasts_s:.1f} s, {sum(t.num_rows for t in expected.values())} rows")

        kills = wrong = whole = 0
        out = folder / "killed"
        found: Counter[str] = Counter()
        while kills < chosen.kills:
            moment_s = chance.uniform(0.05, 1.0) * lasts_s
            if run(command, out, moment_s) is None:
                kills += 1
                made = len(list(out.glob("artifacts/*/*.arrow")))
                sealed = (out / "dataset.json").exists() and bool(open_dataset(out).videos)
                found["sealed" if sealed else "some artifacts" if made else "nothing yet"] += 1
                print(f"  kill {kills} at {moment_s:.2f} s: {made} artifacts")
            else:
                whole += 1
                wrong += compare(expected, out)
                shutil.rmtree(out)
        if out.exists():
            whole += 1
            if run(command, out) != 0:
                wrong += 1
            wrong += compare(expected, out)
        print(f"{kills} kills ({dict(found)}), {whole} datasets finished, {wrong} differ")
    return int(wrong > 0)


def run(command: list[str], out: Path, kill_after_s: float | None = None) -> int | None:
    """Exit code, or None if the process was killed."""
    environment = {**os.environ, "TOY_PAUSE_S": "0.004"}
    process = subprocess.Popen(
        [*command, str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        return process.wait(kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def tables(folder: Path) -> dict[str, pa.Table]:
    """Every table, without the seconds spent."""
    dataset = open_dataset(folder)
    found = {name: dataset.arrow(name) for name in dataset.tables}
    found["artifacts"] = found["artifacts"].drop_columns(["seconds"])
    return found


def compare(expected: dict[str, pa.Table], folder: Path) -> int:
    """1 if the dataset at `folder` differs, saying where."""
    got = tables(folder)
    differing = [name for name in expected if not same(got[name], expected[name])]
    if differing:
        print(f"  differs in {', '.join(differing)}")
    return int(bool(differing))


def same(a: pa.Table, b: pa.Table) -> bool:
    """Equal to the bit. `equals` alone holds a NaN, an unknown cell of a depth map, unlike itself;
    the text of a number tells it from every other."""
    return a.column_names == b.column_names and all(
        x.equals(y) or repr(x.to_pylist()) == repr(y.to_pylist())
        for x, y in zip(a.columns, b.columns, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
