"""A small recorded episode, made once."""

from pathlib import Path

import pytest

from stpe.simulate.doom import record


@pytest.fixture(scope="session")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a recorded episode of 3 s at 320x240 with its truth."""
    pytest.importorskip("vizdoom", reason="the game engine is not installed (extra `sim`)")
    out = tmp_path_factory.mktemp("episode") / "doom"
    record(out, seconds=3.0, seed=3, resolution=(320, 240))
    return out
