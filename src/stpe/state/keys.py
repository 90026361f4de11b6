"""One vocabulary of keys and buttons, whatever a recorder calls them.

Names are the `code` values of W3C UI Events (the position on the keyboard: `ShiftLeft`, `ArrowUp`,
`F1`, `NumpadAdd`), with letters and digits bare (`W`, `1`). Mouse buttons are `MouseLeft`,
`MouseRight`, `MouseMiddle`, `MouseBack`, `MouseForward`; those of a gamepad are `GamepadA` and so
on. What none of the tables knows, such as a game's own `MOVE_FORWARD`, keeps its name; a number
that is in no table is named after its code (`VK255`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

#: Which table numbers belong to.
Codes = Literal["windows", "evdev", "dom", "glfw", "unknown"]

_SAME = (
    "Escape Tab CapsLock Space Enter Backspace Insert Delete Home End PageUp PageDown ArrowUp "
    "ArrowDown ArrowLeft ArrowRight ShiftLeft ShiftRight ControlLeft ControlRight AltLeft "
    "AltRight MetaLeft MetaRight ContextMenu PrintScreen ScrollLock Pause NumLock Minus Equal "
    "BracketLeft BracketRight Backslash Semicolon Quote Backquote Comma Period Slash "
    "IntlBackslash NumpadAdd NumpadSubtract NumpadMultiply NumpadDivide NumpadDecimal "
    "NumpadEnter MediaPlayPause MediaStop MediaTrackNext MediaTrackPrevious AudioVolumeUp "
    "AudioVolumeDown AudioVolumeMute Shift Control Alt Meta KanaMode Convert NonConvert Lang1 "
    "Lang2 Help Clear Select Execute MouseLeft MouseRight MouseMiddle MouseBack MouseForward "
    "GamepadA GamepadB GamepadX GamepadY GamepadL1 GamepadR1 GamepadL2 GamepadR2 GamepadL3 "
    "GamepadR3 GamepadStart GamepadSelect GamepadHome GamepadUp GamepadDown GamepadLeft "
    "GamepadRight"
)

#: Other spellings, without case, spaces and signs. Both words and symbols.
_ALSO = {
    "Escape": "esc", "Enter": "return ret cr newline", "Backspace": "back bksp",
    "Space": "spacebar spc", "Delete": "del forwarddelete", "Insert": "ins",
    "PageUp": "pgup prior pageupkey", "PageDown": "pgdn pgdown next",
    "ArrowUp": "up uparrow keyup", "ArrowDown": "down downarrow", "ArrowLeft": "left leftarrow",
    "ArrowRight": "right rightarrow", "CapsLock": "caps capital capslk",
    "ShiftLeft": "leftshift lshift shiftl", "ShiftRight": "rightshift rshift shiftr",
    "ControlLeft": "leftctrl leftcontrol lctrl lcontrol ctrlleft ctrll controll",
    "ControlRight": "rightctrl rightcontrol rctrl rcontrol ctrlright ctrlr controlr",
    "AltLeft": "leftalt lalt altl lmenu leftmenu optionleft",
    "AltRight": "rightalt ralt altr altgr rmenu rightmenu isolevel3shift optionright",
    "MetaLeft": "leftmeta lmeta leftsuper lsuper superl cmdl lwin leftwin winleft cmd "
                "osleft leftcommand leftwindows leftgui metal",
    "MetaRight": "rightmeta rmeta rightsuper rsuper superr cmdr rwin rightwin winright osright "
                 "rightcommand rightwindows rightgui metar",
    "Control": "ctrl", "Alt": "option menukey", "Meta": "super win windows command gui",
    "ContextMenu": "menu apps app compose",
    "PrintScreen": "print snapshot sysrq prtsc prtscr", "ScrollLock": "scroll scrolllk",
    "Pause": "break", "NumLock": "numlk numlocklock",
    "Minus": "- _ hyphen subtractkey oemminus underscore", "Equal": "= + equals plus oemplus",
    "BracketLeft": "[ { leftbracket leftbrace bracketl oem4",
    "BracketRight": "] } rightbracket rightbrace bracketr oem6",
    "Backslash": "\\ | bar oem5", "Semicolon": "; : colon oem1",
    "Quote": "' \" apostrophe quoted quotedbl oem7", "Backquote": "` ~ grave tilde oem3 asciitilde",
    "Comma": ", < oemcomma less", "Period": ". > dot oemperiod greater fullstop",
    "Slash": "/ ? oem2 question", "IntlBackslash": "102nd oem102 lessgreater",
    "NumpadAdd": "add kpadd kpplus keypadplus numpadplus", "NumpadEnter": "kpenter keypadenter",
    "NumpadSubtract": "subtract kpsubtract kpminus keypadminus numpadminus",
    "NumpadMultiply": "multiply kpmultiply kpasterisk keypadmultiply asterisk",
    "NumpadDivide": "divide kpdivide kpslash keypaddivide",
    "NumpadDecimal": "decimal kpdecimal kpdot keypadperiod kpperiod",
    "AudioVolumeUp": "volumeup mediavolumeup", "AudioVolumeDown": "volumedown mediavolumedown",
    "AudioVolumeMute": "volumemute mute mediavolumemute", "MediaPlayPause": "playpause play",
    "MediaTrackNext": "medianext nexttrack", "MediaTrackPrevious": "mediaprevious prevtrack",
    "MouseLeft": "leftmouse lbutton lmb btnleft buttonleft mousebutton1 mouse1 leftbutton "
                 "leftclick mouse0button",
    "MouseRight": "rightmouse rbutton rmb btnright buttonright mousebutton2 rightbutton rightclick",
    "MouseMiddle": "middlemouse mbutton mmb btnmiddle buttonmiddle mousebutton3 middlebutton "
                   "middleclick",
    "MouseBack": "xbutton1 btnside buttonx1 x1 thumbmousebutton mouse4 buttonbutton8",
    "MouseForward": "xbutton2 btnextra buttonx2 x2 thumbmousebutton2 mouse5 buttonbutton9",
    "GamepadA": "btnsouth btna buttona joybuttona", "GamepadB": "btneast btnb buttonb",
    "GamepadX": "btnwest btnx buttonx", "GamepadY": "btnnorth btny buttony",
    "GamepadL1": "btntl buttonl1 leftshoulder lb", "GamepadR1": "btntr buttonr1 rightshoulder rb",
    "GamepadL2": "btntl2 buttonl2 lefttrigger lt", "GamepadR2": "btntr2 buttonr2 righttrigger rt",
    "GamepadL3": "btnthumbl buttonl3 leftthumb leftstick ls",
    "GamepadR3": "btnthumbr buttonr3 rightthumb rightstick rs",
    "GamepadStart": "btnstart buttonstart", "GamepadSelect": "btnselect buttonselect",
    "GamepadHome": "btnmode guide buttonhome", "GamepadUp": "dpadup btndpadup",
    "GamepadDown": "dpaddown btndpaddown", "GamepadLeft": "dpadleft btndpadleft",
    "GamepadRight": "dpadright btndpadright",
}  # fmt: skip
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: What recorders put before a name.
_PREFIX = re.compile(
    r"^(enum\.keycode\.|enum\.userinputtype\.|keycode\.|key\.keyboard\.|key\.mouse\.|"
    r"key\.|button\.|keys\.|sdl_scancode_|sdlk_|scancode_|k_|vk_|xk_|kvk_|glfw_key_|ik_)",
    re.IGNORECASE,
)

_WINDOWS = {
    1: "MouseLeft", 2: "MouseRight", 4: "MouseMiddle", 5: "MouseBack", 6: "MouseForward",
    8: "Backspace", 9: "Tab", 12: "Clear", 13: "Enter", 16: "Shift", 17: "Control", 18: "Alt",
    19: "Pause", 20: "CapsLock", 21: "Lang1", 25: "Lang2", 27: "Escape", 28: "Convert",
    29: "NonConvert", 32: "Space", 33: "PageUp", 34: "PageDown", 35: "End", 36: "Home",
    37: "ArrowLeft", 38: "ArrowUp", 39: "ArrowRight", 40: "ArrowDown", 41: "Select",
    43: "Execute", 44: "PrintScreen", 45: "Insert", 46: "Delete", 47: "Help", 91: "MetaLeft",
    92: "MetaRight", 93: "ContextMenu", 106: "NumpadMultiply", 107: "NumpadAdd",
    109: "NumpadSubtract", 110: "NumpadDecimal", 111: "NumpadDivide", 144: "NumLock",
    145: "ScrollLock", 160: "ShiftLeft", 161: "ShiftRight", 162: "ControlLeft",
    163: "ControlRight", 164: "AltLeft", 165: "AltRight", 173: "AudioVolumeMute",
    174: "AudioVolumeDown", 175: "AudioVolumeUp", 176: "MediaTrackNext",
    177: "MediaTrackPrevious", 178: "MediaStop", 179: "MediaPlayPause", 186: "Semicolon",
    187: "Equal", 188: "Comma", 189: "Minus", 190: "Period", 191: "Slash", 192: "Backquote",
    219: "BracketLeft", 220: "Backslash", 221: "BracketRight", 222: "Quote", 226: "IntlBackslash",
    **{n: chr(n) for n in (*range(48, 58), *range(65, 91))},
    **{96 + n: f"Numpad{n}" for n in range(10)}, **{111 + n: f"F{n}" for n in range(1, 25)},
}  # fmt: skip
_EVDEV_ROWS = (
    (1, "Escape 1 2 3 4 5 6 7 8 9 0 Minus Equal Backspace Tab Q W E R T Y U I O P BracketLeft "
        "BracketRight Enter ControlLeft A S D F G H J K L Semicolon Quote Backquote ShiftLeft "
        "Backslash Z X C V B N M Comma Period Slash ShiftRight NumpadMultiply AltLeft Space "
        "CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock Numpad7 Numpad8 Numpad9 "
        "NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0 "
        "NumpadDecimal"),
    (86, "IntlBackslash F11 F12"),
    (96, "NumpadEnter ControlRight NumpadDivide PrintScreen AltRight"),
    (102, "Home ArrowUp PageUp ArrowLeft ArrowRight End ArrowDown PageDown Insert Delete"),
    (113, "AudioVolumeMute AudioVolumeDown AudioVolumeUp"),
    (119, "Pause"), (125, "MetaLeft MetaRight ContextMenu"),
    (163, "MediaTrackNext MediaPlayPause MediaTrackPrevious MediaStop"),
    (272, "MouseLeft MouseRight MouseMiddle MouseBack MouseForward"),
    (304, "GamepadA GamepadB"), (307, "GamepadX GamepadY"),
    (310, "GamepadL1 GamepadR1 GamepadL2 GamepadR2 GamepadSelect GamepadStart GamepadHome "
          "GamepadL3 GamepadR3"),
    (544, "GamepadUp GamepadDown GamepadLeft GamepadRight"),
)  # fmt: skip
_NUMBERS: dict[str, dict[int, str]] = {
    "windows": _WINDOWS,
    # Browsers number keys as Windows does, but for a few.
    "dom": {**_WINDOWS, 59: "Semicolon", 61: "Equal", 173: "Minus", 224: "MetaLeft"},
    "evdev": {
        first + n: name for first, names in _EVDEV_ROWS for n, name in enumerate(names.split())
    },
    "glfw": {},
    "unknown": {},
}
_WORDS = {"windows": "VK", "dom": "KeyCode", "evdev": "EV", "glfw": "Key", "unknown": "Key"}
#: Mouse buttons by number: in browsers, in GLFW (and Minecraft), and X11's from 1.
_MOUSE_DOM = ("MouseLeft", "MouseMiddle", "MouseRight", "MouseBack", "MouseForward")
_MOUSE_GLFW = ("MouseLeft", "MouseRight", "MouseMiddle", "MouseBack", "MouseForward")


def key_name(key: str | int, codes: Codes = "unknown") -> str:
    """The vocabulary's name of a key, from a name or a number of the table `codes`.

    >>> [key_name(k) for k in ("KEY_A", "Key.ctrl_l", "'w'", "KeyW", "Enum.KeyCode.LeftShift")]
    ['A', 'ControlLeft', 'W', 'W', 'ShiftLeft']
    >>> key_name(87, "windows"), key_name(17, "evdev"), key_name("MOVE_FORWARD")
    ('W', 'W', 'MOVE_FORWARD')
    """
    if isinstance(key, int):
        return _NUMBERS[codes].get(key, f"{_WORDS[codes]}{key}")
    return _named(key)


def button_name(button: str | int, codes: Codes = "unknown") -> str:
    """The vocabulary's name of a mouse button, from a name or a number counted from 0.

    >>> button_name("left"), button_name("Button.right"), button_name(2, "dom")
    ('MouseLeft', 'MouseRight', 'MouseRight')
    """
    if isinstance(button, int):
        table = _MOUSE_DOM if codes == "dom" else _MOUSE_GLFW if codes == "glfw" else ()
        return table[button] if 0 <= button < len(table) else f"MouseButton{button}"
    bare = re.sub(r"[^a-z0-9]", "", _PREFIX.sub("", button.strip().lower()))
    for word in ("Left", "Right", "Middle", "Back", "Forward"):
        if bare in (word.lower(), f"mouse{word.lower()}"):
            return f"Mouse{word}"
    if bare in ("x1", "x", "side"):
        return "MouseBack"
    if bare in ("x2", "extra"):
        return "MouseForward"
    return _named(button)


@lru_cache(maxsize=4096)
def _named(text: str) -> str:
    text = text.strip()
    if len(text) == 3 and text[0] == text[2] and text[0] in "'\"":
        text = text[1]  # as pynput prints a character
    if not text:
        return "Space"
    if len(text) == 1:
        return text.upper() if text.isalnum() else _BY_WORD.get(text, text)
    bare = _PREFIX.sub("", text)
    if re.match(r"(?i)key_", bare):
        bare = bare[4:]
    if len(bare) == 1:
        return _named(bare)
    plain = re.sub(r"[^a-z0-9]", "", bare.lower())
    return _known(plain) or _known(re.sub(r"[^a-z0-9]", "", text.lower())) or text


def _known(plain: str) -> str | None:
    if plain in _BY_WORD:
        return _BY_WORD[plain]
    found = re.fullmatch(r"(?:key|keycode)?([a-z])|(?:digit|alpha|num|d|key)([0-9])", plain)
    if found is not None:
        return (found[1] or found[2]).upper()
    found = re.fullmatch(r"(?:numpad|kp|keypad|numpadkey|np)([0-9]|[a-z]+)", plain)
    if found is not None:
        digit = found[1] if found[1].isdigit() else None
        if digit is None and found[1] in _DIGITS:
            digit = str(_DIGITS.index(found[1]))
        return f"Numpad{digit}" if digit else None
    if re.fullmatch(r"f([1-9]|1[0-9]|2[0-4])", plain):
        return plain.upper()
    return str(_DIGITS.index(plain)) if plain in _DIGITS else None


_BY_WORD = {name.lower(): name for name in _SAME.split()}
_BY_WORD |= {w: name for name, words in _ALSO.items() for w in words.split() if w not in _BY_WORD}
