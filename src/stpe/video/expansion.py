"""From what a user names to single sources: folders of videos, folders of folders of frames,
LeRobot datasets, and patterns such as `clips/*.mp4`."""

from __future__ import annotations

import glob
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from stpe.errors import SourceError
from stpe.video import lerobot
from stpe.video.files import natural
from stpe.video.still import SUFFIXES

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".wmv", ".asf", ".flv",
        ".f4v", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ogv", ".ogg",
        ".3gp", ".3g2", ".mxf", ".gif", ".apng", ".y4m", ".ivf", ".h264", ".264", ".h265", ".265",
        ".hevc", ".av1", ".obu", ".mjpeg", ".mjpg", ".nut", ".dv", ".rm", ".rmvb",
    )
)  # fmt: skip
#: Beside a folder of frames, a folder called so holds what is known of them, not more frames.
_KNOWN = frozenset(
    (
        "depth", "depths", "mask", "masks", "annotation", "annotations", "label", "labels", "seg",
        "segmentation", "segmentations", "gt", "groundtruth", "ground_truth", "flow",
    )
)  # fmt: skip
_RECORDS = (".json", ".jsonl", ".txt", ".csv", ".parquet", ".mcap")


@dataclass
class Expansion:
    """Single sources, in natural order.

    Attributes:
        uris: paths and addresses, each of which `open_source` opens.
        states: for each, the state log that its dataset has for it; None without one.
        notes: lines on what was found and what was passed over.
    """

    uris: list[str] = field(default_factory=list)
    states: list[str | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, uri: str, state: str | None = None) -> None:
        """One more source."""
        self.uris.append(uri)
        self.states.append(state)


@dataclass
class _Found:
    """What a search of a folder came upon."""

    sources: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    states: dict[Path, Path] = field(default_factory=dict)


def expand(given: Sequence[str | Path]) -> Expansion:
    """The single sources that these name. What is neither a folder nor a pattern stays as it is,
    and so does a folder in which nothing is found: opening it says what is wrong.

    Raises:
        SourceError: a pattern matches nothing, or a LeRobot dataset has no video.
    """
    expansion = Expansion()
    for each in given:
        text = str(each)
        if "://" in text:
            expansion.add(text)
        elif _is_folder(text):
            _folder(Path(text), expansion)
        elif glob.has_magic(text) and not os.path.lexists(text):
            _pattern(text, expansion)
        else:
            expansion.add(text)
    return _once(expansion)


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):  # a name too long, a zero byte: opening it says so
        return False


def _folder(folder: Path, expansion: Expansion) -> None:
    found = _Found()
    _search(folder, found)
    if not found.sources:
        expansion.add(str(folder))
        return
    _take(str(folder), found, expansion, say=found.sources != [folder])


def _take(name: str, found: _Found, expansion: Expansion, say: bool = True) -> None:
    ordered = {str(path): path for path in found.sources}
    for uri in natural(ordered):
        state = found.states.get(ordered[uri])
        expansion.add(uri, None if state is None else str(state))
    if say:
        count = len(ordered)
        expansion.notes.append(
            f"{name}: {count} source{'s' * (count > 1)}: {_some(natural(ordered))}"
        )
    expansion.notes += found.notes
    if found.skipped:
        names = natural(str(path.relative_to(name) if path.is_relative_to(name) else path)
                        for path in found.skipped)  # fmt: skip
        expansion.notes.append(
            f"{name}: passed over {len(names)} that are no video and no frames: {_some(names)}"
        )


def _search(folder: Path, found: _Found) -> None:
    """Collect the sources in and below a folder; the folder itself where it is a sequence."""
    if lerobot.is_root(folder):
        dataset = lerobot.read(folder)
        found.sources += dataset.videos
        found.states |= dataset.states
        found.notes.append(dataset.note)
        return
    entries = _entries(folder, found)
    files = [path for path in entries if path.is_file()]
    videos = [path for path in files if _is_video(path)]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if len(images) > len(videos):
        found.sources.append(folder)
        found.skipped += videos
        return
    found.sources += videos
    records = [path for path in files if path.suffix.lower() in _RECORDS]
    others = [p for p in files if p not in videos and p not in records]
    folders = [path for path in entries if path.is_dir()]
    below = [(path, _below(path, found)) for path in _frames_first(folders)]
    if not videos and _one_sequence(below):
        found.sources.append(folder)
        return
    sequences = [path for path, inside in below if inside.sources == [path]]
    for path, inside in below:
        if inside.sources == [path] and path.name.lower() in _KNOWN and len(sequences) > 1:
            found.skipped.append(path)
            continue
        found.sources += inside.sources
        found.states |= inside.states
        found.notes += inside.notes
        found.skipped += inside.skipped
    if found.sources:
        found.skipped += [*others, *records]


def _below(folder: Path, found: _Found) -> _Found:
    inside = _Found()
    _search(folder, inside)
    return inside


def _frames_first(folders: Sequence[Path]) -> list[Path]:
    return [Path(name) for name in natural(str(path) for path in folders)]


def _one_sequence(below: Iterable[tuple[Path, _Found]]) -> bool:
    """Whether folders hold the parts of one sequence: all images in one of them, or one in each."""
    holding = [(path, inside) for path, inside in below if inside.sources]
    if not holding or any(inside.sources != [path] for path, inside in holding):
        return False
    return len(holding) == 1 or all(_pictures(path) == 1 for path, _ in holding)


def _pictures(folder: Path) -> int:
    return sum(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def _entries(folder: Path, found: _Found) -> list[Path]:
    """What lies in a folder; hidden names, system folders, datasets and links to folders are
    passed over."""
    kept = []
    try:
        names = natural(path.name for path in folder.iterdir())
    except OSError as error:
        found.notes.append(f"{folder} cannot be read ({error.strerror}) and was passed over")
        return []
    for name in names:
        path = folder / name
        if path.is_dir():
            ours = (path / "dataset.json").is_file() and (path / "tables").is_dir()
            if name.startswith(".") or name == "__MACOSX" or path.is_symlink() or ours:
                found.skipped.append(path)
                continue
        elif name.startswith(".") or not path.is_file():
            found.skipped.append(path)
            continue
        kept.append(path)
    return kept


def _is_video(path: Path) -> bool:
    """A video by its name, or a ZIP of frames; a `.ts` file of text is no stream."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return any(PurePath(n).suffix.lower() in SUFFIXES for n in archive.namelist())
        if suffix == ".ts":
            with path.open("rb") as file:
                return file.read(1) == b"G"
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return suffix in VIDEO_SUFFIXES


def _pattern(text: str, expansion: Expansion) -> None:
    matches = [Path(name) for name in natural(glob.glob(text, recursive=True))]  # noqa: PTH207
    found = _Found()
    for path in matches:
        if path.is_file() and (_is_video(path) or path.suffix.lower() in SUFFIXES):
            found.sources.append(path)
        elif path.is_file():
            found.skipped.append(path)
    if "**" not in text or not found.sources:
        for path in matches:
            if path.is_dir():
                inside = _below(path, found)
                found.sources += inside.sources
                found.states |= inside.states
                found.notes += inside.notes
                found.skipped += inside.skipped
    if not found.sources:
        what = f"only {_some([str(p) for p in matches])}" if matches else "nothing"
        raise SourceError(f"{text}: the pattern matches {what}; give videos or folders of frames")
    pictures = [path for path in found.sources if path.suffix.lower() in SUFFIXES]
    if len(pictures) > 1:
        found.notes.append(
            f"{text}: each of {len(pictures)} pictures is a source; give their folder to take them "
            "as the frames of one"
        )
    _take(text, found, expansion)


def _once(expansion: Expansion) -> Expansion:
    """Without sources that are named twice."""
    kept, seen, twice = Expansion(notes=expansion.notes), set(), []
    for uri, state in zip(expansion.uris, expansion.states, strict=True):
        same = uri if "://" in uri or "\0" in uri else os.path.realpath(uri)
        if same in seen:
            twice.append(uri)
            continue
        seen.add(same)
        kept.add(uri, state)
    if twice:
        kept.notes.append(f"named twice and taken once: {_some(twice)}")
    return kept


def _some(names: Sequence[str]) -> str:
    most = 5
    listed = [n.encode("utf-8", "backslashreplace").decode() for n in names]
    if len(listed) <= most:
        return ", ".join(listed)
    return f"{', '.join(listed[: most - 1])} ... {listed[-1]}"
