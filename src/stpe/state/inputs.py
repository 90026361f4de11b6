"""What a log's records say of keys, buttons, pointer, wheel and axes, in one form for every log.

Two kinds of record. An *event* says that one key, button or axis changed: `{"event": "keydown",
"code": "KeyW"}`, `{"type": "EV_KEY", "code": 30, "value": 1}`, `{"event_type": "press", "vk": 87}`.
A *snapshot* lists what is held: `{"inputs": ["W"]}`, `{"keys": {"W": true}, "mouse": {...}}`. Where
a log has events, they alone are presses and releases, and its snapshots correct what is held;
where it has snapshots only, presses and releases are the differences of one to the next.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stpe.state.keys import Codes, button_name, key_name

_PRESS = frozenset(
    ("press", "pressed", "keydown", "keypress", "down", "mousedown", "pointerdown", "buttondown",
     "begin", "push")
)  # fmt: skip
_RELEASE = frozenset(
    ("release", "released", "keyup", "up", "mouseup", "pointerup", "buttonup", "end")
)
_ACTIONS = ("event_type", "eventType", "event", "action", "type", "kind", "state")
_HELD = ("inputs", "keys_held", "keys_down", "keysdown", "held_keys", "pressed_keys", "keys",
         "keyboard", "buttons", "buttons_held", "mouse_buttons", "held", "action",
         "actions")  # fmt: skip
#: Of these, those that list mouse buttons as well, or would.
_WITH_BUTTONS = frozenset(
    ("inputs", "held", "buttons", "buttons_held", "mouse_buttons", "action", "actions")
)
_POINTERS = ("mouse", "pointer", "cursor", "mouse/state", "mouse_state")
_MOVES = (("dx", "dy"), ("last_x", "last_y"), ("movementX", "movementY"), ("rel_x", "rel_y"),
          ("delta_x", "delta_y"))  # fmt: skip
_PLACES = (("x", "y"), ("clientX", "clientY"), ("screenX", "screenY"), ("pos_x", "pos_y"))
_PADS = ("gamepad", "axes", "controller", "joystick", "sticks")
#: Windows raw input: a bit a transition.
_RAW_BUTTONS = ("MouseLeft", "MouseRight", "MouseMiddle", "MouseBack", "MouseForward")


@dataclass
class Inputs:
    """What one record says; every list is by the names of `stpe.state.keys`.

    Attributes:
        pressed, released: events, in order. held: everything that is down, where the record lists
            it. pointer: place. move: since the record before. wheel: [x, y] notches.
        axes: analogue values by name. lists_buttons, lists_keys: what `held` speaks of.
        raw_pressed, raw_released: mouse buttons by raw input.
    """

    pressed: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    held: set[str] | None = None
    lists_keys: bool = False
    lists_buttons: bool = False
    pointer: tuple[float, float] | None = None
    move: tuple[float, float] | None = None
    wheel: tuple[float, float] | None = None
    axes: dict[str, float] = field(default_factory=dict)
    raw_pressed: list[str] = field(default_factory=list)
    raw_released: list[str] = field(default_factory=list)

    @property
    def has_events(self) -> bool:
        """Whether it says that something was pressed or released."""
        return bool(self.pressed or self.released)


@dataclass(frozen=True)
class InputRow:
    """Inputs of one row with what is held after it; None where the log says nothing of keys."""

    pressed: tuple[str, ...]
    released: tuple[str, ...]
    held: tuple[str, ...] | None
    pointer: tuple[float, float] | None
    move: tuple[float, float] | None
    wheel: tuple[float, float] | None
    axes: Mapping[str, float]


def inputs_of(states: Sequence[Mapping[str, Any]]) -> list[InputRow]:
    """What each record of a log says, in time order."""
    found = [_read(state) for state in states]
    if not any(k.startswith("Mouse") for one in found for k in (*one.pressed, *one.released)):
        # The system's own clicks, where there are any, say what raw input says.
        for one in found:
            one.pressed += one.raw_pressed
            one.released += one.raw_released
    events = any(one.has_events for one in found)
    speaks = events or any(one.held is not None for one in found)
    held: set[str] = set()
    known = events
    before: tuple[float, float] | None = None
    raw = any(one.move is not None for one in found)
    rows: list[InputRow] = []
    for one in found:
        pressed, released = list(one.pressed), list(one.released)
        held = (held | set(pressed)) - set(released)
        if one.held is not None:
            now = one.held | {k for k in held if not _lists(one, k)}
            if not events and known:
                pressed, released = sorted(now - held), sorted(held - now)
            held, known = now, True
        move = one.move
        if not raw and one.pointer is not None and before is not None:
            move = (one.pointer[0] - before[0], one.pointer[1] - before[1])
        before = one.pointer or before
        rows.append(
            InputRow(
                tuple(pressed), tuple(released),
                tuple(sorted(held)) if speaks and known else None,
                one.pointer, move, one.wheel, one.axes,
            )
        )  # fmt: skip
    return rows


def _lists(one: Inputs, key: str) -> bool:
    """Whether what a record lists as held would name this key if it were."""
    return one.lists_buttons if key.startswith("Mouse") else one.lists_keys


def _read(state: Mapping[str, Any]) -> Inputs:
    one = Inputs()
    if _event(state, one):
        return one
    left = {}
    for name, value in state.items():
        # A record may hold events, one or a list, under the name of what they are of.
        parts = value if isinstance(value, list) else [value]
        found = [isinstance(part, Mapping) and _event(part, one, name) for part in parts]
        if not any(found):
            left[name] = value
    _snapshot(left, one)
    return one


def _event(record: Mapping[str, Any], one: Inputs, topic: str = "") -> bool:
    """Read a record that is one event; False where it is none."""
    value = record.get("value")
    if record.get("type") in ("EV_KEY", 1) and "code" in record:
        return _evdev_key(record, one)
    if record.get("type") in ("EV_REL", "EV_ABS", 2, 3) and "code" in record:
        return _evdev_axis(str(record["code"]), value, one)
    if "last_x" in record and ("button_flags" in record or "us_button_flags" in record):
        return _raw_mouse(record, one)
    action = next(
        (_word(record[n]) for n in _ACTIONS if isinstance(record.get(n), str)), ""
    )  # fmt: skip
    if action in ("scroll", "wheel", "mousewheel", "mousescroll"):
        one.wheel = _pair(record, (("dx", "dy"), ("deltaX", "deltaY"), ("wheel_x", "wheel_y")))
        one.pointer = _pair(record, _PLACES) or one.pointer
        return one.wheel is not None
    if action in ("move", "mousemove", "pointermove", "mousemotion", "cursormove"):
        _moved(record, one)
        return True
    if action in ("axis", "axismotion", "joyaxismotion"):
        number = _number(value if value is not None else record.get("position"))
        if number is not None:
            one.axes[str(record.get("axis", record.get("name", "axis")))] = number
        return number is not None
    down = _down(action, record)
    name = _pressed_name(record, action, topic)
    if down is None or name is None:
        return False
    if down and record.get("repeat") is True:
        return True  # of a key that is held, as browsers mark it
    (one.pressed if down else one.released).append(name)
    one.pointer = _pair(record, _PLACES) or one.pointer
    return True


def _down(action: str, record: Mapping[str, Any]) -> bool | None:
    for word in ("pressed", "down", "is_pressed", "isDown", "is_down"):
        if isinstance(record.get(word), bool):
            return bool(record[word])
    if action in _PRESS:
        return True
    if action in _RELEASE:
        return False
    value = record.get("value")
    if action in ("key", "keyboard", "button", "mousebutton") and value in (0, 1, True, False):
        return bool(value)
    return None


def _pressed_name(record: Mapping[str, Any], action: str, topic: str) -> str | None:
    mouse = action.startswith(("mouse", "pointer")) or "mouse" in topic or action == "click"
    button = record.get("button")
    if isinstance(button, str | int) and not isinstance(button, bool):
        return button_name(button, "dom" if action.startswith(("mouse", "pointer")) else "unknown")
    for name, codes in (
        ("vk", "windows"), ("vk_code", "windows"), ("vkCode", "windows"),
        ("virtual_key", "windows"), ("code", "unknown"), ("key", "unknown"),
        ("key_name", "unknown"), ("keyCode", "dom"), ("keycode", "dom"), ("key_code", "dom"),
        ("which", "dom"), ("name", "unknown"), ("input", "unknown"), ("scancode", "unknown"),
    ):  # fmt: skip
        value = record.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            continue
        if isinstance(value, float):
            if value != int(value):
                continue
            value = int(value)
        return button_name(value) if mouse else key_name(value, codes)  # type: ignore[arg-type]
    return None


def _evdev_key(record: Mapping[str, Any], one: Inputs) -> bool:
    code, value = record["code"], record.get("value")
    if isinstance(code, bool) or not isinstance(code, str | int):
        return False
    name = key_name(code, "evdev")
    if value in (1, 2):  # 2 is a repeat of a key that is held
        if value == 1:
            one.pressed.append(name)
    elif value == 0:
        one.released.append(name)
    return True


def _evdev_axis(code: str, value: Any, one: Inputs) -> bool:
    number = _number(value)
    if number is None:
        return False
    place = {"REL_X": 0, "0": 0, "REL_Y": 1, "1": 1}.get(code)
    if code.startswith("ABS_"):
        one.axes[code] = number
    elif code in ("REL_WHEEL", "8"):
        one.wheel = (0.0, number)
    elif code in ("REL_HWHEEL", "6"):
        one.wheel = (number, 0.0)
    elif place is not None:
        one.move = (number, 0.0) if place == 0 else (0.0, number)
    return True


def _raw_mouse(record: Mapping[str, Any], one: Inputs) -> bool:
    one.move = _pair(record, (("last_x", "last_y"),))
    flags = record.get("button_flags", record.get("us_button_flags"))
    if isinstance(flags, int):
        for n, name in enumerate(_RAW_BUTTONS):
            if flags >> (2 * n) & 1:
                one.raw_pressed.append(name)
            if flags >> (2 * n + 1) & 1:
                one.raw_released.append(name)
        amount = _number(record.get("button_data", record.get("us_button_data")))
        if amount and flags & 0xC00:
            notches = amount / 120.0
            one.wheel = (0.0, notches) if flags & 0x400 else (notches, 0.0)
    return True


def _moved(record: Mapping[str, Any], one: Inputs) -> None:
    one.pointer = _pair(record, _PLACES) or one.pointer
    one.move = _pair(record, _MOVES) or one.move


def _snapshot(state: Mapping[str, Any], one: Inputs) -> None:
    """What a record lists as held, and where the pointer is."""
    newer = isinstance(state.get("mouse"), Mapping) and "newButtons" in state["mouse"]
    for name, value in state.items():
        plain = name.lower()
        if plain in _POINTERS and isinstance(value, Mapping):
            _pointer(value, one, "glfw" if newer else "unknown")
        elif plain in ("mouse_delta", "mousedelta"):
            one.move = _vector(value) or one.move
        elif plain in ("mouse_x", "cursor_x", "pointer_x"):
            other = state.get(f"{name[:-1]}y")
            one.pointer = _vector([value, other]) or one.pointer
        elif plain in _PADS:
            _axes(value, one, plain)
        elif plain.split("/")[0] in _HELD and plain.split("/")[-1] in (*_HELD, "state"):
            numbers = [_number(v) for v in value] if isinstance(value, list) else []
            if plain.startswith("action") and numbers and None not in numbers:
                _axes(value, one, plain)  # of a robot
            else:
                one.lists_buttons |= plain in _WITH_BUTTONS
                # A recorder of the desktop writes Windows' codes under `keyboard/state`.
                _listed(value, one, "windows" if "/" in plain else "unknown")


def _listed(value: Any, one: Inputs, codes: Codes) -> None:
    if isinstance(value, Mapping):
        inner = next((value[n] for n in ("keys", "buttons", "held", "pressed")
                      if isinstance(value.get(n), list | str)), None)  # fmt: skip
        for name in _POINTERS:
            if isinstance(value.get(name), Mapping):
                _pointer(value[name], one, "unknown")
        for name in _PADS:
            if name in value:
                _axes(value[name], one, name)
        delta = value.get("mouse_delta")
        one.move = _vector(delta) or one.move
        if inner is not None:
            value = inner
        else:
            switches = {k: v for k, v in value.items() if v in (0, 1) or isinstance(v, bool)}
            one.axes.update(
                {k: float(v) for k, v in value.items()
                 if k not in switches and isinstance(v, int | float) and math.isfinite(v)}
            )  # fmt: skip
            if not switches and value:
                return
            value = [k for k, v in switches.items() if v]
    names = _names(value, codes)
    if names is not None:
        one.held = (one.held or set()) | names
        one.lists_keys = True
        one.lists_buttons |= any(n.startswith("Mouse") for n in names)


def _pointer(value: Mapping[str, Any], one: Inputs, codes: Codes) -> None:
    one.pointer = _pair(value, _PLACES) or one.pointer
    one.move = _pair(value, _MOVES) or one.move
    notches = _number(value.get("dwheel", value.get("wheel", value.get("scroll"))))
    if notches is not None:
        one.wheel = (0.0, notches)
    held = value.get("buttons")
    if isinstance(held, Mapping):
        held = [k for k, v in held.items() if v]
    if isinstance(held, list):
        plain = [b for b in held if isinstance(b, str | int) and not isinstance(b, bool)]
        one.held = (one.held or set()) | {button_name(b, codes) for b in plain}
        one.lists_buttons = True


def _axes(value: Any, one: Inputs, name: str) -> None:
    if isinstance(value, list):
        value = {f"{name}_{n}": v for n, v in enumerate(value)}
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        number = _number(item)
        if number is not None:
            one.axes[str(key)] = number
        elif isinstance(item, list) and key in (
            "axes",
            "left",
            "right",
            "left_stick",
            "right_stick",
        ):
            one.axes |= {
                f"{key}_{n}": float(v) for n, v in enumerate(item) if _number(v) is not None
            }
        elif key == "buttons":
            _listed(item, one, "unknown")


def _names(value: Any, codes: Codes) -> set[str] | None:
    """Names of a list, or of text such as `W+Space`; None where it is neither."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text.replace("'", '"'))
            except ValueError:
                return None
        else:
            value = [part for part in re.split(r"[\s,;|+]+", text) if part]
    if not isinstance(value, list):
        return None
    keys = [k for k in value if isinstance(k, str | int) and not isinstance(k, bool) and k != ""]
    return {key_name(k, codes) for k in keys}


def _word(value: Any) -> str:
    return re.sub(r"[^a-z]", "", str(value).lower())


def _pair(
    record: Mapping[str, Any], names: Iterable[tuple[str, str]]
) -> tuple[float, float] | None:
    for x, y in names:
        found = _number(record.get(x)), _number(record.get(y))
        if found[0] is not None or found[1] is not None:
            return found[0] or 0.0, found[1] or 0.0
    return None


def _vector(value: Any) -> tuple[float, float] | None:
    if isinstance(value, Mapping):
        return _pair(value, (("x", "y"), ("dx", "dy")))
    if not isinstance(value, list) or len(value) < 2:
        return None
    x, y = _number(value[0]), _number(value[1])
    return None if x is None or y is None else (x, y)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
