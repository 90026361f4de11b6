"""Whether torchvision can be used here.

One that was built for another torch, such as a CUDA build beside a CPU build, fails when it is
imported, and so does every model of transformers that imports it. It is then hidden: transformers
does without it, and so do we.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from importlib.metadata import version

from stpe.models.torch_runtime.torch_module import import_torch, importing


@functools.cache
def why_no_torchvision() -> str | None:
    """Why it cannot be used, in one line; None where it can. One that does not fit is hidden from
    everything imported from now on.

    Raises:
        MissingExtraError: torch is not installed.
    """
    if importlib.util.find_spec("torchvision") is None:
        return "torchvision is not installed"
    torch = import_torch()
    with importing:
        try:
            importlib.import_module("torchvision")
        except Exception as error:  # its operators are missing, or a library they need
            for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            sys.modules["torchvision"] = None  # type: ignore[assignment]
            first = str(error).strip().partition("\n")[0]
            return (
                f"torchvision {version('torchvision')} is installed and does not fit torch "
                f"{torch.__version__} ({first}); both must come from one index"
            )
    return None
