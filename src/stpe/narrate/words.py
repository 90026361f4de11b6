"""English: nouns, numbers, places, directions and hedges. Pure functions of what is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_PLURALS = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "knife": "knives",
    "skis": "skis",
    "scissors": "scissors",
    "sheep": "sheep",
    "broccoli": "broccoli",
    "baseball glove": "baseball gloves",
}
_OCTANTS = (
    "right",
    "down and right",
    "down",
    "down and left",
    "left",
    "up and left",
    "up",
    "up and right",
)

_CAMERA = {
    "static": ("stays", "still"),
    "pan_left": ("pans", "left"),
    "pan_right": ("pans", "right"),
    "tilt_up": ("tilts", "up"),
    "tilt_down": ("tilts", "down"),
    "roll_cw": ("rolls", "clockwise"),
    "roll_ccw": ("rolls", "anticlockwise"),
    "zoom_in": ("zooms", "in"),
    "zoom_out": ("zooms", "out"),
    "translate": ("moves", "through the scene"),
    "mixed": ("moves", "in several ways at once"),
}


def camera_does(motion: str, to: bool = False) -> str:
    """What the camera does, or with `to` the infinitive without "to".

    >>> camera_does("pan_left"), camera_does("zoom_in", to=True), camera_does("translate")
    ('pans left', 'zoom in', 'moves through the scene')
    """
    verb, rest = _CAMERA[motion]
    return f"{verb.removesuffix('s') if to else verb} {rest}"


def moves(motion: str | None) -> bool | None:
    """Whether a `frames.camera_motion` word means motion; None where it says nothing of that."""
    return None if motion not in _CAMERA else motion != "static"


def plural(noun: str) -> str:
    """
    >>> [plural(n) for n in ("person", "bus", "dog", "box", "fly", "toy", "sheep")]
    ['people', 'buses', 'dogs', 'boxes', 'flies', 'toys', 'sheep']
    """
    head, _, last = noun.rpartition(" ")
    if noun in _PLURALS or last in _PLURALS:
        return _PLURALS.get(noun) or f"{head} {_PLURALS[last]}".strip()
    if noun.endswith(("s", "x", "ch", "sh", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def article(phrase: str) -> str:
    """
    >>> article("umbrella"), article("large object"), article("unicycle"), article("8-ball")
    ('an umbrella', 'a large object', 'a unicycle', 'an 8-ball')
    """
    sound = phrase.lower()
    an = sound[:1] in "aeio8" or (sound[:1] == "u" and not sound.startswith(("uni", "use", "eu")))
    return f"{'an' if an else 'a'} {phrase}"


def count_word(n: int) -> str:
    """Numbers to twelve in words."""
    return _NUMBERS[n] if n < len(_NUMBERS) else f"{n:,}"


def several(n: int, phrase: str) -> str:
    """
    >>> several(1, "person"), several(3, "small object"), several(20, "dog")
    ('a person', 'three small objects', '20 dogs')
    """
    return article(phrase) if n == 1 else f"{count_word(n)} {plural(phrase)}"


def listed(parts: Sequence[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def number(value: float, digits: int = 3) -> str:
    """To so many significant digits, without trailing zeros or exponents.

    >>> number(16.0), number(0.04999), number(1234.5), number(12.345), number(-0.00001, 3)
    ('16', '0.05', '1,234', '12.3', '0')
    """
    if abs(value) < 1e-3:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(value: float, unit: str, digits: int = 3) -> str:
    """A number with its unit, if it has one.

    >>> amount(16.0, "studs/s"), amount(3.0, "")
    ('16 studs/s', '3')
    """
    return f"{number(value, digits)} {unit}".rstrip()


def seconds(value: float) -> str:
    """
    >>> seconds(4.5), seconds(65.0), seconds(0.1)
    ('4.5 s', '65 s', '0.1 s')
    """
    return f"{number(round(value, 1 if value >= 0.1 else 2), 4)} s"


def percent(share: float) -> str:
    """
    >>> percent(0.123), percent(0.004)
    ('12 %', 'under 1 %')
    """
    return "under 1 %" if share < 0.01 else f"{round(100 * share)} %"


def direction(vx: float, vy: float) -> str:
    """
    >>> direction(1, 0), direction(1, -1), direction(0, 2)
    ('right', 'up and right', 'down')
    """
    return _OCTANTS[round(math.degrees(math.atan2(vy, vx)) / 45) % 8]


def place(box: Sequence[float], width: int, height: int) -> str:
    """Where the middle of a box is, in thirds of the frame.

    >>> place([0, 0, 10, 10], 100, 100), place([40, 40, 60, 60], 100, 100)
    ('at the upper left', 'in the centre')
    >>> place([80, 40, 99, 60], 100, 100), place([45, 80, 55, 99], 100, 100)
    ('on the right', 'at the bottom')
    """
    column = min(int(3 * (box[0] + box[2]) / 2 / max(width, 1)), 2)
    row = min(int(3 * (box[1] + box[3]) / 2 / max(height, 1)), 2)
    if row == 1:
        return ("on the left", "in the centre", "on the right")[column]
    if column == 1:
        return ("at the top", "", "at the bottom")[row]
    return f"at the {('upper', '', 'lower')[row]} {('left', '', 'right')[column]}"


def size_word(share: float) -> str:
    """`large`, `small` or neither, from the share of the frame.

    >>> size_word(0.2), size_word(0.05), size_word(0.001)
    ('large', '', 'small')
    """
    return "large" if share >= 0.12 else "small" if share < 0.01 else ""


def hedged(phrase: str, confidence: float | None) -> str:
    """
    >>> hedged("a dog", 0.9), hedged("a dog", 0.5), hedged("a dog", 0.2)
    ('a dog', 'probably a dog', 'possibly a dog')
    """
    if confidence is None or confidence >= 0.6:
        return phrase
    return f"{'probably' if confidence >= 0.35 else 'possibly'} {phrase}"


def sentence(text: str) -> str:
    """First letter large, full stop at the end; both only where they are missing."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def lower_first(text: str) -> str:
    """Without the sentence's capital; acronyms keep theirs.

    >>> lower_first("A dog appears"), lower_first("TV #3 appears")
    ('a dog appears', 'TV #3 appears')
    """
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
