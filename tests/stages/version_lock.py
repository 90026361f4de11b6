"""Which sources the output of each stage depends on, and whether its version says so.

    python tests/stages/version_lock.py "why no output changes"

A stage's artifacts are made anew when its version changes. `versions.json` holds the version of
each stage and a hash of every source file below it; when a file changes, the stages above it need
another version, or a reason why their output stays.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stpe.stages.registry import STAGES

LOCK = Path(__file__).with_name("versions.json")
SOURCES = Path(__file__).parents[2] / "src"
#: What runs stages, and so is above them; the vocabulary says what columns are called.
_ABOVE = ("stpe.pipeline", "stpe.engine", "stpe.serve", "stpe.signals", "stpe.errors")
#: Parts of a syntax tree that differ between versions of Python and change nothing.
_IGNORED = ("ctx", "kind", "type_comment", "type_params", "type_ignores")


def found() -> dict[str, Any]:
    """The lock as it should be: versions, and hashes of all files below some stage."""
    below = sorted({module for stage in STAGES for module in modules_below(stage.__module__)})
    return {
        "versions": {stage.name: stage.version for stage in sorted(STAGES, key=lambda s: s.name)},
        "sources": {module: _hash(module) for module in below},
    }


def stale(lock: dict[str, Any]) -> dict[str, list[str]]:
    """Stage name to the changed files below it, of stages whose version does not say so."""
    now = found()
    changed = {m for m in now["sources"] if lock["sources"].get(m) != now["sources"][m]}
    return {
        stage.name: touched
        for stage in STAGES
        if (touched := sorted(changed & modules_below(stage.__module__)))
        and lock["versions"].get(stage.name) == stage.version
    }


@cache
def modules_below(module: str) -> frozenset[str]:
    """A module and all of this package that it imports, directly or not."""
    seen, open_ = set(), [module]
    while open_:
        name = open_.pop()
        if name not in seen and not name.startswith(_ABOVE):
            seen.add(name)
            open_ += _imports(name)
    return frozenset(seen)


@cache
def _imports(module: str) -> tuple[str, ...]:
    names = []
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(n for n in names if n.startswith("stpe.") and _path(n) is not None)


def _path(module: str) -> Path | None:
    base = SOURCES.joinpath(*module.split("."))
    options = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in options if path.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    assert path is not None, module
    return ast.parse(path.read_text(encoding="utf-8"))


def _hash(module: str) -> str:
    text = "\n".join(_parts(_tree(module)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parts(node: Any) -> Iterator[str]:
    """What a syntax tree says, without comments, docstrings and layout."""
    if isinstance(node, list):
        for item in node:
            yield from _parts(item)
    elif not isinstance(node, ast.AST):
        yield repr(node)
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name not in _IGNORED:
                yield from _parts(value)


def main(reason: str) -> None:
    """Renew the lock; a reason is needed where a version stays though a file below it changed."""
    lock = json.loads(LOCK.read_text()) if LOCK.exists() else {"versions": {}, "sources": {}}
    for stage, touched in (kept := stale(lock)).items():
        print(f"{stage} keeps version {lock['versions'][stage]}: {', '.join(touched)} changed")
    if kept and not reason:
        raise SystemExit("bump these versions, or say why their output stays the same")
    reasons = lock.get("reasons", {})
    reasons |= dict.fromkeys(sorted({m for touched in kept.values() for m in touched}), reason)
    LOCK.write_text(json.dumps({**found(), "reasons": reasons}, indent=1) + "\n")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]).strip())
