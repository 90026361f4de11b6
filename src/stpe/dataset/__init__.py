"""The dataset on disk: tables, original media, reader, exports. Knows nothing of models."""

from stpe.dataset.collate import collate
from stpe.dataset.reader import Dataset, open_dataset
from stpe.dataset.writer import DatasetWriter

__all__ = ["Dataset", "DatasetWriter", "collate", "open_dataset"]
