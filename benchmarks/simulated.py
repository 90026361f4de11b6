"""Every metric on simulated episodes with interval and baseline, and calibration before and after.

    python benchmarks/simulated.py --work DIR [--episodes 12] [--only doom,physics] [--out FILE.md]
        [--fit FILE.json]

Records, processes and scores seeded episodes; what is in DIR is not made again, so a stopped run
goes on; delete an episode's scores-*.pickle to score it again. `--fit` writes the calibration
tables that ship as src/stpe/calibration.json (with `--assume-camera`, as most users run it);
confidences are judged by their raw values whatever the package ships.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from simulated_sets.episodes import Scores, episodes, scores  # noqa: E402
from simulated_sets.pool import Pooled, pooled  # noqa: E402
from simulated_sets.trust import Fitted, calibrate  # noqa: E402
from stpe.engine import Engine  # noqa: E402

#: The game's own size, which its textures are drawn for; rendered scenes are as clear when small.
SIZES = {"doom": (640, 480), "physics": (320, 240)}


def main() -> int:
    """Run, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="recordings, datasets and scores")
    parser.add_argument("--episodes", type=int, default=12, help="of each simulator")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--fps", type=float, default=3.0, help="analysed frames a second")
    parser.add_argument("--assume-camera", action="store_true", help="do not give intrinsics")
    parser.add_argument("--only", default="doom,physics")
    parser.add_argument("--out", type=Path, help="write the report as Markdown")
    parser.add_argument("--fit", type=Path, help="write the calibration tables as JSON")
    options = parser.parse_args()
    found: list[Scores] = []
    with Engine("embedded") as engine:
        for simulator in options.only.split(","):
            for episode in episodes(simulator, options.episodes):
                print(f"{episode.name} ...", file=sys.stderr, flush=True)
                found.append(
                    scores(
                        options.work,
                        episode,
                        engine,
                        options.seconds,
                        SIZES[simulator],
                        options.fps,
                        options.assume_camera,
                    )
                )
    fitted = calibrate(found)
    text = report(found, fitted)
    print(text)
    if options.out:
        options.out.write_text(text)
    if options.fit:
        options.fit.write_text(tables(fitted, found))
    return 0


def report(found: list[Scores], fitted: list[Fitted]) -> str:
    """The whole result as Markdown."""
    today = datetime.date.today().isoformat()
    cpu = platform.processor() or platform.machine()
    lines = [
        f"# Simulated episodes, {today}",
        "",
        f"`{_command()}`",
        "",
        f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, embedded profile.",
        "The camera's intrinsics are given, as a game knows its own, unless the command says "
        "--assume-camera. Mean over episodes, 95 % bootstrap interval over episodes in brackets. "
        "Gain: how much better than the baseline, positive is better; bold where the interval "
        "leaves out zero.",
    ]
    for simulator in dict.fromkeys(s.episode.simulator for s in found):
        mine = [s for s in found if s.episode.simulator == simulator]
        scenarios = ", ".join(sorted({s.episode.scenario for s in mine}))
        lines += ["", f"## {simulator}: {len(mine)} episodes ({scenarios})", ""]
        lines += ["| signal | metric | ours | unit | baseline | its value | gain | episodes | n |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        lines += [_line(row) for row in pooled(mine)]
        missing = {f"{k}: {v}" for s in mine for k, v in s.unscored.items()}
        lines += ["", *(f"Not scored everywhere: {why}." for why in sorted(missing))]
    lines += ["", "## Confidence, calibrated on even episodes and tested on odd ones", ""]
    lines += ["| confidence | right means | pairs fitted, tested | ECE raw | ECE calibrated |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {f.signal} | {f.right} | {f.fitted_on}, {f.tested_on} | {f.before:.3f} "
        f"| {f.after:.3f} |"
        for f in fitted
    ]
    return "\n".join(lines) + "\n"


def _line(row: Pooled) -> str:
    gain = ""
    if row.gain is not None and row.gain_interval is not None:
        low, high = row.gain_interval
        gain = f"{row.gain:+.3g} [{low:+.3g}, {high:+.3g}]"
        gain = f"**{gain}**" if low > 0 or high < 0 else gain
    cells = [
        row.signal,
        row.metric,
        f"{row.value:.3g} [{row.interval[0]:.3g}, {row.interval[1]:.3g}]",
        "" if row.unit == "1" else row.unit,
        row.baseline_name,
        "" if row.baseline is None else f"{row.baseline:.3g}",
        gain,
        str(row.episodes),
        str(row.n) if row.n != row.episodes else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _command() -> str:
    """What was called, without the folders of this machine."""
    words = [os.path.relpath(sys.argv[0], HERE.parent), *sys.argv[1:]]
    plain = [w if at < 1 or words[at - 1] != "--work" else "DIR" for at, w in enumerate(words)]
    return "python " + shlex.join(plain)


def tables(fitted: list[Fitted], found: list[Scores]) -> str:
    """The calibration file: the curves that help on the half they were not fitted on."""
    content = {
        "command": _command(),
        "date": datetime.date.today().isoformat(),
        "episodes": sorted(s.episode.name for s in found if s.episode.number % 2 == 0),
        "signals": {
            f.signal: {
                "right": f.right,
                "pairs": f.fitted_on,
                "ece": [round(f.before, 4), round(f.after, 4)],
                "raw": f.curve.raw,
                "calibrated": f.curve.calibrated,
            }
            for f in fitted
            if f.after < f.before
        },
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
