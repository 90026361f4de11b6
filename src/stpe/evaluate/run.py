"""`stpe evaluate`: from paths to a stored scorecard with its page, or to a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stpe.dataset.layout import MANIFEST, write_atomically
from stpe.dataset.reader import open_dataset
from stpe.errors import UsageError
from stpe.evaluate.compare import Comparison, compare
from stpe.evaluate.labels.recognise import read_truth
from stpe.evaluate.moments import pictures
from stpe.evaluate.page import page
from stpe.evaluate.scorecard import Scorecard, choose_video, evaluate
from stpe.evaluate.stored import load, path_of, store

#: Worst moments shown a signal.
_MOMENTS = 2


@dataclass(frozen=True)
class Evaluation:
    """A scorecard, and where it and its page were written."""

    card: Scorecard
    json: Path
    page: Path

    def document(self) -> dict[str, Any]:
        """The figures, and the two paths."""
        return {**self.card.brief().document(), "json": str(self.json), "page": str(self.page)}


def evaluate_dataset(
    path: Path | str,
    truth: Path | str,
    video_id: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    truth_format: str | None = None,
) -> Evaluation:
    """Score one video of a dataset, and write `evaluation/<video_id>.json` and `.html` into it.

    Args:
        truth: any kind that `read_truth` knows.
        video_id: may be left out where the dataset has one video.
        say: told each step as it begins, and what the truth was taken for.
        truth_format: of the truth, as `stpe.evaluate.labels.declared` has it; None to find out.

    Raises:
        UsageError: which video is not clear, or there is no such format.
        DatasetError: no dataset.
        TruthError: the truth cannot be read, is about another video, or scores nothing.
    """
    dataset = open_dataset(path)
    video = choose_video(dataset, video_id)
    (row,) = dataset.arrow("videos", video, ["width", "height", "frame_count"]).to_pylist()
    every = dataset.arrow("transitions", video, ["pts"])["pts"].to_pylist()
    times = every if len(every) == row["frame_count"] else None
    say(f"reading {truth}")
    size = row["width"], row["height"]
    known = read_truth(truth, size, truth_format, row["frame_count"], times)
    for text in known.read_as:
        say(f"truth: {text}")
    say(f"scoring {video} against {known.kind} truth")
    card = evaluate(dataset, video, known)
    written = store(dataset.path, card)
    say("drawing the page")
    moments = pictures(dataset, video, known, card.curves, _MOMENTS)
    shown = path_of(dataset.path, video, ".html")
    write_atomically(shown, page(card, moments).encode())
    return Evaluation(card, written, shown)


def compare_paths(
    a: Path,
    b: Path,
    truth: Path | str | None = None,
    video_id: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    truth_format: str | None = None,
) -> Comparison:
    """B against A, each a dataset or a stored scorecard.

    With `truth`, datasets are scored now; without, their stored cards are read.

    Raises:
        UsageError: a path is neither, or a dataset was not scored yet.
        StpeError: as `evaluate_dataset` and `compare` do.
    """
    return compare(*(_card(path, truth, video_id, say, truth_format) for path in (a, b)))


def _card(
    path: Path,
    truth: Path | str | None,
    video_id: str | None,
    say: Callable[[str], None],
    truth_format: str | None,
) -> Scorecard:
    if path.is_file():
        return load(path)
    if not (path / MANIFEST).is_file():
        raise UsageError(f"{path} is neither a dataset nor a scorecard's JSON")
    if truth is not None:
        return evaluate_dataset(path, truth, video_id, say, truth_format).card
    dataset = open_dataset(path)
    video = choose_video(dataset, video_id)
    stored = path_of(dataset.path, video)
    if not stored.is_file():
        raise UsageError(f"{path} was not scored yet: give --truth")
    card = load(stored)
    if card.plan_key != dataset.manifest.videos[video]:
        raise UsageError(f"{path} was processed again since it was scored: give --truth")
    return card
