"""Search over a dataset's signals by text or by image."""

from stpe.search.moments import Hit
from stpe.search.search import Search, phrase_file, read_image, search

__all__ = ["Hit", "Search", "phrase_file", "read_image", "search"]
