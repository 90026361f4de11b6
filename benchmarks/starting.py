"""Processor seconds that `stpe --help` and `from stpe import Engine` take, beside bare Python.

python benchmarks/starting.py
"""

from __future__ import annotations

import resource
import subprocess
import sys

_RUNS = 7
_STARTS = {
    "python -c pass": ["-c", "pass"],
    "import numpy, pyarrow, av, pydantic": ["-c", "import numpy, pyarrow, av, pydantic"],
    "stpe --help": ["-m", "stpe", "--help"],
    "from stpe import open_dataset": ["-c", "from stpe import open_dataset"],
    "from stpe import Engine": ["-c", "from stpe import Engine"],
}


def seconds(arguments: list[str]) -> float:
    """Processor seconds of one run of Python."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return used() - before


def main() -> None:
    """Print the table; the least of several runs, in turns, is least disturbed by others."""
    least = dict.fromkeys(_STARTS, float("inf"))
    for _ in range(_RUNS):
        for name, arguments in _STARTS.items():
            least[name] = min(least[name], seconds(arguments))
    for name, found in least.items():
        print(f"{found:6.2f} s  {name}")


if __name__ == "__main__":
    main()
