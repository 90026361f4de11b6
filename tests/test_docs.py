"""The reference pages and the examples in docstrings say what the code says."""

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import stpe
from stpe.cli import cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(stpe.__file__).parent
EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


def test_reference_pages_are_current() -> None:
    run = [sys.executable, str(ROOT / "docs/generate.py"), "--check"]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_pages_link_to_files_that_exist() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_in_docstrings_run(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    failed, _ = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert not failed


def commands() -> list[str]:
    """What pages tell the reader to type after `stpe`, without comments, `[` and `]`."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^```(?:sh|bash)?\n(.*?)^```$", page.read_text(), re.M | re.S):
            lines = re.sub(r"\\\n", " ", block).splitlines()
            found += [re.sub(r"[\[\]]|#.*|&$", "", x[5:]) for x in lines if x.startswith("stpe ")]
    return found


def test_commands_in_pages_are_ones_that_there_are() -> None:
    assert len(commands()) > 15
    for line in commands():
        words, command = shlex.split(line), cli
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_parser(click.Context(command)).parse_args(words)  # raises for wrong options
