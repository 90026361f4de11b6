"""`stpe demo`: record a game episode, or take a video, process it, show what came out, score it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stpe import strict_json
from stpe.certificates import told
from stpe.dataset.export import export
from stpe.dataset.reader import Dataset, open_dataset
from stpe.dataset.writer import DatasetWriter
from stpe.engine import Engine, Result
from stpe.errors import MissingExtraError, UsageError
from stpe.evaluate.report import card_lines
from stpe.evaluate.run import evaluate_dataset
from stpe.evaluate.scorecard import Scorecard
from stpe.pipeline.progress import Progress
from stpe.simulate.doom import Recording, record

#: Export format to the file it makes in the dataset folder.
EXPORTS = {"video": "annotated.mp4", "sheet": "contact_sheet.png", "rerun": "episode.rrd"}


@dataclass(frozen=True)
class DemoReport:
    """What a demo made.

    Attributes:
        dataset: the dataset folder; everything else lies in it.
        video: what was processed.
        recording: the episode's folder with its ground truth; None where a video was given.
        files: export format to file. skipped: export format to the reason there is none.
        seconds: wall time of each step.
        certificate: how the episode's state log fits the video; None without one.
        rows: table to number of rows. summary: the narrated summary.
        captions: a few frames, (pts, normal caption).
        result: what the engine did.
        card: how good every signal is, and page: the same with plots; None without ground truth.
    """

    dataset: Path
    video: str
    recording: Path | None
    files: dict[str, Path]
    skipped: dict[str, str]
    seconds: dict[str, float]
    rows: dict[str, int]
    summary: str | None
    captions: list[tuple[float, str]]
    result: Result = field(repr=False)
    certificate: str | None = None
    card: Scorecard | None = field(default=None, repr=False)
    page: Path | None = None

    def lines(self) -> list[str]:
        """The report for people."""
        took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        counts = ", ".join(f"{name} {count}" for name, count in self.rows.items() if count)
        found = [f"{'dataset':16} {self.dataset}"]
        if self.recording is not None:
            found.append(f"{'ground truth':16} {self.recording}")
        if self.certificate is not None:
            found.append(f"{'state log':16} {self.certificate}")
        names = {"video": "annotated video", "sheet": "contact sheet", "rerun": "Rerun file"}
        found += [f"{names[name]:16} {path}" for name, path in self.files.items()]
        found += [f"{names[name]:16} none: {why}" for name, why in self.skipped.items()]
        found += [f"{'rows':16} {counts}", f"{'time':16} {took}"]
        if self.summary:
            found += ["", self.summary]
        found += [f"  at {pts:.1f} s: {text}" for pts, text in self.captions]
        if self.card is not None:
            found += ["", *card_lines(self.card, gist=True), f"{'scorecard page':16} {self.page}"]
        return found


def run(
    out: Path | str,
    video: Path | str | None = None,
    seconds: float = 20.0,
    seed: int = 0,
    profile: str = "auto",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> DemoReport:
    """Make a dataset at `out` with an annotated video, a contact sheet and a Rerun file in it, and
    a scorecard where the episode was recorded here. The episode's state log and intrinsics are
    given to the engine, as a game would give them.

    The same call again reuses the recording and whatever was processed.

    Args:
        out: dataset folder, made if missing.
        video: a file or other source to process instead of recording an episode.
        seconds, seed: see `stpe.simulate.doom.record`.
        profile: see `Engine`.
        progress: told what happens while processing.
        say: told each step as it begins.

    Raises:
        MissingExtraError: the game engine is not installed and no video was given.
        StpeError: recording, processing or exporting failed.
    """
    folder = Path(out)
    took: dict[str, float] = {}
    recording: Recording | None = None
    if video is None:
        begun = time.monotonic()
        recording = _recorded(folder, seconds, seed, say)
        took["recording"] = time.monotonic() - begun
    source = str(video) if recording is None else str(recording.video)
    begun = time.monotonic()
    say(f"processing {source}")
    with Engine(profile) as engine:
        log, lens = (None, "") if recording is None else (recording.state_log, _lens(recording))
        result = engine.process(
            source, folder, state=log, camera=lens, replace=True, progress=progress
        )
    took["processing"] = time.monotonic() - begun
    begun = time.monotonic()
    dataset = open_dataset(folder)
    files, skipped = _exported(dataset, folder, say)
    took["exports"] = time.monotonic() - begun
    video_id = result.videos[0].video_id
    evaluation = None
    if recording is not None:
        begun = time.monotonic()
        evaluation = evaluate_dataset(folder, recording.truth, video_id, say)
        took["scorecard"] = time.monotonic() - begun
    fits = dataset.arrow("videos", video_id, ["alignment"])["alignment"].drop_null().to_pylist()
    frames = dataset.arrow("frames", video_id, ["pts", "caption_normal"]).to_pylist()
    summaries = dataset.arrow("videos", video_id, ["summary"])["summary"].to_pylist()
    return DemoReport(
        dataset=folder,
        video=source,
        recording=None if recording is None else recording.truth.parent,
        files=files,
        skipped=skipped,
        seconds=took,
        rows=dict(dataset.tables),
        summary=summaries[0] if summaries else None,
        captions=_some(frames),
        result=result,
        certificate=told(json.loads(fits[0])) if fits else None,
        card=None if evaluation is None else evaluation.card.brief(),
        page=None if evaluation is None else evaluation.page,
    )


def _recorded(folder: Path, seconds: float, seed: int, say: Callable[[str], None]) -> Recording:
    """The episode in the dataset folder: the one that is there, or a new one."""
    target = folder / "recording"
    if target.exists():
        try:
            facts = json.loads((target / "truth" / "truth.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            facts = {}
        count = facts.get("frames")
        if facts.get("seed") != seed or count != round(seconds * facts.get("fps", 0)):
            raise UsageError(f"{target} holds another recording: choose another --out")
        say(f"the episode is there already: {target}")
        return Recording(
            target / "episode.mp4", target / "state.jsonl", target / "truth", int(count)
        )
    with DatasetWriter(folder):
        pass  # an empty dataset first: a folder that holds other files is refused as one
    say(f"recording {seconds:g} s of a game episode, seed {seed}")
    return record(target, seconds, seed)


def _lens(recording: Recording) -> str:
    """The camera's intrinsics, which a game knows as it knows its state, as `--camera` takes them;
    no poses."""
    facts = json.loads((recording.truth / "truth.json").read_text(encoding="utf-8"))
    return strict_json.dumps(facts["intrinsics"])


def _exported(
    dataset: Dataset, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, Path], dict[str, str]]:
    files: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for name, file in EXPORTS.items():
        say(f"writing {file}")
        try:
            files[name] = export(dataset, name, folder / file)
        except MissingExtraError as error:
            skipped[name] = str(error)
    return files, skipped


def _some(frames: list[dict[str, Any]], count: int = 4) -> list[tuple[float, str]]:
    told = [(f["pts"], f["caption_normal"]) for f in frames if f["caption_normal"]]
    step = max(1, len(told) // count)
    return told[step // 2 :: step][:count]
