"""What a log says of the video that it belongs to, and whether a video contradicts it.

Names, picture size, episode, session and device prove nothing where they agree, and are enough to
refuse where they do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from stpe.state.log import StateLog
from stpe.state.nested import leaves

_VIDEO_FILE = re.compile(r"\.(mp4|m4v|mkv|mov|avi|webm|ts|mpg|mpeg|wmv|flv|gif|ogv|3gp)$", re.I)
#: Last part of the names of fields that name a video without its extension.
_VIDEO_FIELDS = ("video", "video_file", "video_filename", "video_name", "video_path", "video_uri")
#: Fields of which a video may say the same, in its name (`episode_12`) or in its container's tags.
_SESSIONS = (
    "camera_id", "device", "device_id", "device_name", "episode", "episode_id", "episode_index",
    "hostname", "recording_id", "run_id", "session", "session_id", "take",
)  # fmt: skip
_WIDTHS = ("frame_width", "video_width", "image_width")
_SHAPES = ("screen.shape", "screen.original_shape", "screen.source_shape", "resolution")
#: Words in the names of files that tell what they hold and how, and not of which recording.
_KINDS = re.compile(
    r"(?<![0-9a-z])(\d+(p|k|fps|hz)|[hx]\.?26[45]|v\d+)(?![0-9a-z])|"
    r"(?<![a-z])(action|annotation|capture|clip|data|event|frame|input|log|meta|metadata|pose|"
    r"recording|screen|state|telemetry|video)s?(?![a-z])"
)
#: Names that are made from the content, or by chance, and say nothing.
_MEANINGLESS = re.compile(
    r"^([0-9a-f]{32,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|tmp.*)$", re.I
)
#: By how much the shape of pictures may differ, and seconds between the times in two names.
_SAME_SHAPE, _SAME_MOMENT_S = 0.02, 600.0
#: Seconds by which clocks of devices may be off, time zones mistaken.
_SAME_DAY_S = 86400.0


@dataclass(frozen=True)
class Video:
    """What is known of a video beside its pictures.

    Attributes:
        uri: its path or address. width, height: of its pictures; 0 if not known.
        tags: what its container says of it.
    """

    uri: str
    width: int = 0
    height: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


def contradictions(log: StateLog, video: Video) -> list[str]:
    """Each thing that a log says of its video and that is not so of this one, in a sentence."""
    said = _constants(log)
    return [
        *_by_video_name(said, video),
        *_by_shape(said, video),
        *_by_session(said, video),
        *_by_file_name(log, video),
        *_by_day(log, video),
    ]


def name_of(uri: str) -> str:
    """The last part of a path or address."""
    path = unquote(urlsplit(uri).path) if "://" in uri else uri
    return PurePosixPath(path.replace("\\", "/")).name


def _constants(log: StateLog) -> dict[str, Any]:
    """By dotted name, what the head of a log says, and what its first, middle and last row say
    alike."""
    rows = [log.rows[at] for at in (0, len(log.rows) // 2, -1)]
    first, *others = [{name: _plain(v) for name, v in leaves(row.state)} for row in rows]
    same = {n: v for n, v in first.items() if all(n in o and o[n] == v for o in others)}
    return {**same, **{name: _plain(v) for name, v in leaves(log.head)}}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and not isinstance(value, str) else value


def _by_video_name(said: Mapping[str, Any], video: Video) -> list[str]:
    named = {
        name_of(value)
        for name, value in said.items()
        if isinstance(value, str)
        and (_VIDEO_FILE.search(value) or name.rpartition(".")[2].casefold() in _VIDEO_FIELDS)
    }
    mine = name_of(video.uri)
    if not named or _MEANINGLESS.match(_stem(mine)) or any(_alike(n, mine) for n in named):
        return []
    return [f"the log names {' and '.join(sorted(named))} as its video, and this is {mine}"]


def _alike(one: str, other: str) -> bool:
    """Whether two names can be of one video: the same, or one with something added."""
    short, long = sorted((_stem(one), _stem(other)), key=len)
    if _MEANINGLESS.match(short):
        return True
    return bool(re.search(rf"(?<![0-9a-z]){re.escape(short)}(?![0-9a-z])", long))


def _stem(name: str) -> str:
    return re.sub(r"\.[a-z0-9]{2,7}$", "", name.casefold()) if "." in name else name.casefold()


def _by_shape(said: Mapping[str, Any], video: Video) -> list[str]:
    if not video.width or not video.height:
        return []
    sizes = [v for n, v in said.items() if n.endswith(_SHAPES) and isinstance(v, list)]
    for name, width in said.items():
        group, dot, last = name.rpartition(".")
        if last in _WIDTHS:
            sizes.append([width, said.get(f"{group}{dot}{last.replace('width', 'height')}")])
    sizes = [s for s in sizes if len(s) == 2 and all(isinstance(v, int) and v > 1 for v in s)]
    shape = video.width / video.height
    # A video that is turned on display has its sides in the other order.
    near = [
        abs(ratio / shape - 1) < _SAME_SHAPE
        for width, height in sizes
        for ratio in (width / height, height / width)
    ]
    if not sizes or any(near):
        return []
    width, height = sizes[0]
    return [
        f"the log's pictures are {width}x{height}, and the video's {video.width}x{video.height}"
    ]


def _by_session(said: Mapping[str, Any], video: Video) -> list[str]:
    tags = {_word(name): str(value).strip() for name, value in video.tags.items()}
    stem, found = _stem(name_of(video.uri)), []
    for name, value in said.items():
        last = name.rpartition(".")[2].casefold()
        if last not in _SESSIONS or isinstance(value, bool) or not isinstance(value, int | str):
            continue
        mine = tags.get(_word(last))
        kind = last.partition("_")[0]
        inside = re.search(rf"(?<![a-z]){kind}[_ -]?([0-9]+)(?![0-9a-z])", stem)
        if mine is None and inside is not None and str(value).isdigit():
            mine, value = inside[1].lstrip("0") or "0", str(value).lstrip("0") or "0"
        if mine and str(value).strip().casefold() != mine.casefold():
            found.append(f"the log is of {kind} {value}, and the video of {mine}")
    return found


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _by_file_name(log: StateLog, video: Video) -> list[str]:
    """Names that differ in their numbers alone are of two recordings of one series."""
    names = log.name, name_of(video.uri)
    stems = [_KINDS.sub("", _stem(name)) for name in names]
    if any(_MEANINGLESS.match(_stem(name)) for name in names):
        return []
    shapes = [_word(re.sub(r"\d+", "#", stem).replace("#", "0")) for stem in stems]
    numbers = [re.findall(r"\d+", stem) for stem in stems]
    if not numbers[0] or shapes[0] != shapes[1]:
        return []
    moments = [_moment("".join(found)) for found in numbers]
    if moments[0] is not None and moments[1] is not None:
        same = abs(moments[0] - moments[1]) < _SAME_MOMENT_S
    else:
        same = [int(n) for n in numbers[0]] == [int(n) for n in numbers[1]]
    return [] if same else [f"the log is called {names[0]}, and the video {names[1]}"]


def _moment(digits: str) -> float | None:
    """Unix seconds of a date and time, or of a Unix time, written in digits."""
    if len(digits) >= 12 and digits[:2] in ("19", "20"):
        try:
            read = datetime.strptime(digits[:14].ljust(14, "0"), "%Y%m%d%H%M%S")
        except ValueError:
            return None
        return read.replace(tzinfo=UTC).timestamp()
    if len(digits) in (10, 13):
        return int(digits) / (1 if len(digits) == 10 else 1000)
    return None


def _by_day(log: StateLog, video: Video) -> list[str]:
    """A video cannot have been made before its log began."""
    made = next((v for n, v in video.tags.items() if _word(n) == "creationtime"), None)
    if made is None or log.clock != "unix" or log.rows[0].time is None:
        return []
    try:
        moment = datetime.fromisoformat(made)
    except ValueError:
        return []
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    begun = datetime.fromtimestamp(log.rows[0].time, UTC)
    # Clocks that were never set say 1970 or 1904.
    if moment.year < 2000 or (begun - moment).total_seconds() < _SAME_DAY_S:
        return []
    return [f"the log begins on {begun:%Y-%m-%d}, and the video was made on {moment:%Y-%m-%d}"]
