"""One file an export format."""

from stpe.dataset.export.registry import FORMATS, Format, export

__all__ = ["FORMATS", "Format", "export"]
