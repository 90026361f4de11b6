import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from live_server import NONE, live_server


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """A client of a server with the embedded models, for tests that leave it as it was."""
    pytest.importorskip("fastapi")
    with live_server(tmp_path_factory.mktemp("live")) as client:
        yield client


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A client of a server without models, for tests that leave it as it was. It takes two requests
    at a time, and holds 2 MB of them."""
    pytest.importorskip("fastapi")
    limits = {"STPE_SERVE_MAX_PENDING": "2", "STPE_SERVE_MEMORY_BYTES": "2000000"}
    with live_server(tmp_path_factory.mktemp("bare"), STPE_SERVE_MODELS=NONE, **limits) as client:
        yield client


@pytest.fixture(scope="session")
def people(shared_data):
    """COCO images with people, and their annotations by file name."""
    import json

    folder = shared_data / "coco_person_mini"
    truth = json.loads((folder / "test_coco.json").read_text())
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    found = {name: [] for name in names.values()}
    for annotation in truth["annotations"]:
        found[names[annotation["image_id"]]].append(annotation)
    return {folder / Path(name).name: rows for name, rows in found.items()}
