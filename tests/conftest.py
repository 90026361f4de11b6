"""Shared test helpers."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The labelled clips beside the checkout; tests that use them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the labelled clips (../shared/data) are not on this machine")
    return SHARED_DATA
