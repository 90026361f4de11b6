"""Shared test helpers."""

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def ordinary_priority():
    """SVT-AV1, which writes some of the clips, gives the thread that calls it real-time priority
    where it is root's. Whatever that thread starts later has it too, and two such processes that
    wait by polling stop a machine of two cores for ever."""
    _ordinary()
    yield
    _ordinary()


def _ordinary():
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The labelled clips beside the checkout; tests that use them skip where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the labelled clips (../shared/data) are not on this machine")
    return SHARED_DATA
