"""Imports go one way: a room knows only those below it."""

import ast
from pathlib import Path

import stpe

ROOT = Path(stpe.__file__).parent
#: From the ground up. `dataset` knows nothing of models, `stages` nothing of what runs them.
ROOMS = (
    "errors", "allocator", "strict_json", "options", "signals", "calibration", "rle", "clocks",
    "video", "geometry", "tracking", "state", "narrate", "dataset", "models", "stages", "simulate",
    "pipeline", "engine", "evaluate", "search", "train", "certificates", "demo", "serve", "client",
    "consume", "console", "keep", "cli", "__main__",
)  # fmt: skip


def imported(tree):
    """(line, module) of each import of our own, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "stpe":
            yield from ((node.lineno, f"stpe.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def test_no_room_imports_one_above_it():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":  # the public face
            continue
        for line, module in imported(ast.parse(path.read_text())):
            top, _, rest = module.partition(".")
            if top == "stpe" and rest != "__version__":
                other = rest.split(".")[0]
                if ROOMS.index(other) > ROOMS.index(room):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
            assert top, f"{path.relative_to(ROOT)}:{line} is a relative import"
    assert not wrong, "\n".join(wrong)


def test_json_is_written_without_words_that_no_parser_knows():
    """NaN and Infinity: `strict_json` writes null for them, anything else refuses them."""
    loose = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("json.dumps", "json.dump")
                and not any(k.arg == "allow_nan" for k in node.keywords)
            ):
                loose.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not loose, f"strict_json.dumps, or allow_nan=False: {', '.join(loose)}"
