"""The reference pages and the examples in docstrings say what the code says."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import stpe
from pages import PAGES, ROOT, blocks, commands
from stpe.cli import cli

PACKAGE = Path(stpe.__file__).parent
EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


def test_reference_pages_are_current() -> None:
    run = [sys.executable, str(ROOT / "docs/generate.py"), "--check"]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_pages_link_to_files_that_exist() -> None:
    for page in [ROOT / "CONTRIBUTING.md", *PAGES]:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_in_docstrings_run(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    failed, _ = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert not failed


def test_commands_in_pages_are_ones_that_there_are() -> None:
    """README.md and docs/actions.md are run in test_demo.py, pages on the server in tests/serve."""
    typed = [words for page in PAGES for words in commands(page)]
    assert len(typed) > 15
    for words in typed:
        command: click.Command = cli
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_parser(click.Context(command)).parse_args(words)  # raises for wrong options


def test_commands_that_no_test_runs_say_before_them_what_they_need() -> None:
    for page in PAGES:
        text = page.read_text()
        if page.name in ("README.md", "actions.md"):
            continue
        for block in re.finditer(r"^```(?:sh|bash)?\n(.*?)^```$", text, re.M | re.S):
            run_on_a_server = "curl -s " in block[1] and "pip " not in block[1]
            typed = re.search(r"^(stpe (?!.*--help)|pip|docker|python|curl) ?", block[1], re.M)
            if typed and not run_on_a_server:
                before = text[: block.start()].rsplit("\n#", 1)[-1]
                assert "need" in before.lower(), f"{page.name}: {block[1]}"


def test_python_in_pages_compiles_and_imports_what_there_is() -> None:
    found = [code for page in PAGES for code in blocks(page, "python", "py")]
    assert len(found) > 8
    for code in found:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stpe"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, name.name) for name in node.names), node.module
