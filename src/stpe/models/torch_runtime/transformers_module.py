"""Importing transformers, whatever thread asks first.

transformers puts another module in its own place while it is imported, and its classes are imported
when they are first named, in files that import each other. Of two threads in that at once, one may
be given a module that is not finished. So one lock is round all of it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stpe.errors import MissingExtraError, ModelError
from stpe.models.torch_runtime.torch_module import importing
from stpe.models.torch_runtime.torchvision_module import why_no_torchvision


@contextmanager
def transformers_alone() -> Iterator[Any]:
    """The module, with no other thread importing from it meanwhile.

    Raises MissingExtraError where it is not installed.
    """
    with importing:
        why_no_torchvision()  # hides one that would break what transformers imports
        try:
            module = importlib.import_module("transformers")
        except ImportError as error:
            raise MissingExtraError(
                "this model needs transformers: pip install 'stpe[flagship]'"
            ) from error
        # Its progress bars and reports would go between our own lines; errors are raised.
        module.logging.set_verbosity_error()
        module.logging.disable_progress_bar()
        yield module


@functools.cache
def from_transformers(name: str, module: str = "") -> Any:
    """A class or function of transformers, or of a module of it such as "masking_utils".

    Raises:
        MissingExtraError: it is not installed.
        ModelError: the version that is installed has no such name.
    """
    with transformers_alone() as transformers:
        home = importlib.import_module(f"transformers.{module}") if module else transformers
        try:
            return getattr(home, name)
        except (AttributeError, ImportError) as error:
            raise ModelError(
                f"transformers {transformers.__version__} cannot give {name} ({error}); "
                "this model needs 5.23 or newer: pip install -U 'stpe[flagship]'"
            ) from error
