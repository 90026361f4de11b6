from pathlib import Path

import pytest
from small_dataset import add, make_clip

from stpe.dataset import Dataset, DatasetWriter, open_dataset


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(folder / f"clip {n}.mp4", n) for n in range(2)]


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory: pytest.TempPathFactory, clips: list[Path]) -> Path:
    path = tmp_path_factory.mktemp("dataset") / "ds"
    with DatasetWriter(path) as writer:
        for seed, clip in enumerate(clips):
            add(writer, clip, seed)
    return path


@pytest.fixture
def dataset(dataset_path: Path) -> Dataset:
    return open_dataset(dataset_path)
