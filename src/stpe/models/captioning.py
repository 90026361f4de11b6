"""What every captioner is asked, and how its answer is read."""

from __future__ import annotations

import json
import re
from typing import Literal

from stpe.errors import ModelError

Level = Literal["brief", "normal", "detailed"]
LEVELS: tuple[Level, ...] = ("brief", "normal", "detailed")

SYSTEM = (
    "You describe frames of a video for people who cannot see it. You say only what the frames "
    "show or what the facts below state, and you never guess names, places or motives."
)
_ANSWER = (
    'Answer with one JSON object and nothing else: {"brief": at most twelve words, "normal": one '
    'or two sentences, "detailed": four to eight sentences on every object, where it is, how it '
    "moves and what has changed}. Where the facts and the frames disagree, follow the frames and "
    'begin a sentence of "detailed" with "Contrary to the measurements,".'
)
_LABELLED = re.compile(
    r'["*#\s]*\b(brief|normal|detailed)\b["*\s]*[:=]\s*"?(.*?)'
    r'"?\s*[,}]?\s*(?=["*#\s]*\b(?:brief|normal|detailed)\b["*\s]*[:=]|```|\Z)',
    re.DOTALL | re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class NoAnswerError(ModelError):
    """The captioner answered with nothing."""


def prompt(facts: str, context: str = "", previous: str = "") -> str:
    """The question that goes with the frames.

    Args:
        facts: what was measured, in words.
        context: what the user said of the video.
        previous: what was said of the frame before.
    """
    parts = [
        ("Facts measured by other instruments, which can be wrong:", facts),
        ("The frame before was described so:", previous),
        ("The user says of the video:", context),
    ]
    told = [f"{title}\n{text.strip()}" for title, text in parts if text.strip()]
    return "\n\n".join([*told, _ANSWER])


def parse(answer: str) -> dict[Level, str]:
    """The three captions in a model's answer, however well it kept to the form.

    Read are, in this order: a JSON object anywhere in the text; levels labelled in any way, cut off
    or not; plain prose. A level that is missing is made of the others' sentences, never invented.

    Raises:
        NoAnswerError: the answer is empty.
    """
    found = _from_json(answer) or _from_labels(answer)
    if not found:
        text = answer.strip().strip("`{}[]\"' \n")
        if not text:
            raise NoAnswerError("the captioner gave an empty answer")
        found = {"detailed": text}
    longest = found.get("detailed") or found.get("normal") or found.get("brief") or ""
    detailed = longest
    normal = found.get("normal") or " ".join(_SENTENCE.split(detailed)[:2])
    brief = found.get("brief") or _SENTENCE.split(normal)[0]
    return {"brief": brief, "normal": normal, "detailed": detailed}


def _from_json(answer: str) -> dict[Level, str]:
    decoder = json.JSONDecoder(strict=False)
    for brace in re.finditer(r"\{", answer):
        try:
            value, _ = decoder.raw_decode(answer, brace.start())
        except ValueError:
            continue
        found = _kept({str(k).lower(): v for k, v in value.items() if isinstance(v, str)})
        if found:
            return found
    return {}


def _from_labels(answer: str) -> dict[Level, str]:
    found: dict[str, str] = {}
    for name, text in _LABELLED.findall(answer):
        found.setdefault(name.lower(), text.replace('\\"', '"').replace("\\n", "\n"))
    return _kept(found)


def _kept(texts: dict[str, str]) -> dict[Level, str]:
    clean = {level: texts.get(level, "").strip().strip('"*').strip() for level in LEVELS}
    return {level: text for level, text in clean.items() if text}
