"""Whatever is thrown at it, a source gives frames in order or one clear line."""

import resource
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from malformed import malformed

from stpe.errors import SourceError
from stpe.video import Grid, Limits, open_source, sample

LIMITS = Limits(connect_timeout_s=2, read_timeout_s=0.5)
DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    with malformed(tmp_path_factory.mktemp("malformed")) as made:
        yield made


def outcome(source: str) -> tuple[str, str]:
    """What came of a source (error, warning or frames), and what was said."""
    try:
        with open_source(source, LIMITS) as opened:
            times = [s.pts for s in sample(opened, [Grid("all"), Grid("few", 2, (32, 32))])]
            assert times
            assert all(b > a for a, b in pairwise(times))
            assert max(times) < 60
            said = "; ".join(opened.info.warnings)
            return ("warning" if said else "frames"), said
    except SourceError as error:
        return "error", str(error)


def test_every_malformed_source_fails_clearly_or_yields_sane_frames(cases):
    assert len(cases) >= 90
    before = set(threading.enumerate())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    surprises = []
    for case in cases:
        began = time.monotonic()
        got, said = outcome(case.source)
        took = time.monotonic() - began
        clear = got != "error" or (said and "\n" not in said)
        as_expected = got == case.expect or (case.expect, got) == ("frames", "warning")
        if not as_expected or not clear or took > DEADLINE_S:
            surprises.append(
                f"{case.name}: {got} instead of {case.expect} in {took:.1f} s ({said})"
            )
    assert not surprises
    left = [t for t in threading.enumerate() if t not in before]
    assert not [t for t in left if "process_request" not in t.name]
    # Bombs and gigantic pictures (up to 10 GB unpacked) were refused, not tried.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak + (512 << 10)


def test_zip_slip_writes_nothing_outside(cases, tmp_path):
    assert not Path("/tmp/evil.png").exists()
    outcome(next(c.source for c in cases if c.name == "slip_absolute.zip"))
    assert not Path("/tmp/evil.png").exists()


def test_playlists_do_not_open_other_files(cases):
    """A script that names a good video beside it must not be followed."""
    assert outcome(next(c.source for c in cases if c.name == "script.mp4"))[0] == "error"
    assert outcome(next(c.source for c in cases if c.name == "playlist.mp4"))[0] == "error"
