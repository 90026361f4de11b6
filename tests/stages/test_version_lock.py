"""A stage whose code changed has another version, or a reason why it does not."""

import json

import version_lock


def test_versions_say_what_changed():
    lock = json.loads(version_lock.LOCK.read_text())
    wanting = version_lock.stale(lock)
    assert not wanting, (
        "code below these stages changed and their versions did not: bump them if what they make "
        'can change, and run `make lock`; else `make lock REASON="why it stays the same"`'
    )
    assert {k: lock[k] for k in ("versions", "sources")} == version_lock.found(), "run `make lock`"


def test_a_threshold_of_tracking_is_below_the_stages_that_track(tmp_path, monkeypatch):
    name = "stpe.tracking.tracker"
    text = version_lock._path(name).read_text()
    number = next(line for line in text.splitlines() if line.startswith("_") and " = 0.1" in line)
    changed = tmp_path / "tracker.py"
    real = version_lock._path
    monkeypatch.setattr(version_lock, "_path", lambda m: changed if m == name else real(m))
    lock = json.loads(version_lock.LOCK.read_text())
    for other, concerned in (
        (text.replace(number, f"# a remark\n{number}"), False),
        (text.replace(number, number.replace("= 0.1", "= 0.11", 1)), True),
    ):
        changed.write_text(other)
        version_lock._tree.cache_clear()
        wanting = version_lock.stale(lock)
        assert ("tracklets" in wanting) == concerned
        assert "depth" not in wanting
    version_lock._tree.cache_clear()
