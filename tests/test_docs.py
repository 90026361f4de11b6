"""The reference pages and the examples in docstrings say what the code says."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stpe

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
