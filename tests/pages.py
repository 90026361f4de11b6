"""The examples in README.md and docs/*.md."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path | str, *languages: str) -> list[str]:
    """Code of a page in one of these languages; "" for blocks that name none."""
    text = (ROOT / page).read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [code for language, code in found if language in languages]


def commands(page: Path | str) -> list[list[str]]:
    """The words that a page tells the reader to type after `stpe`, without `[` and `]`."""
    found = []
    for block in blocks(page, "", "sh", "bash"):
        lines = re.sub(r"\\\n", " ", block).splitlines()
        typed = [re.sub(r"[\[\]]|#.*|&$", "", x[5:]) for x in lines if x.startswith("stpe ")]
        found += [shlex.split(line) for line in typed]
    return found
