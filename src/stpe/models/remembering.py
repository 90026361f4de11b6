"""A model that is not asked the same twice: what does not change in a video costs nothing.

Models answer the same input the same way. A picture that stays on is the same input again, to the
bit, so the answer is taken from memory; a picture that differs in one bit is asked about anew.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any

import numpy as np

#: Answers that are kept of each method: a still picture needs one, threads at its edge a second.
KEPT = 2
#: Methods whose answer depends on nothing but what they are given.
_PURE = (
    "embed", "detect", "encode", "from_boxes", "from_points", "from_text", "candidates",
    "estimate", "joints", "depth", "flow", "classify", "transitions",
)  # fmt: skip
#: Of these the answer is opaque, and not to be changed by whoever gets it.
_OPAQUE = ("encode",)


def remembering(model: Any) -> Any:
    """`model`, with the last answers of its methods kept. It still belongs to its owner: `close`
    is the model's own."""
    pure = tuple(name for name in _PURE if callable(getattr(model, name, None)))
    return _class(pure)(model)


class Remembering:
    """See `remembering`. Safe to call from several threads; of two that ask the same at once, one
    waits for the other's answer."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._answers: dict[str, OrderedDict[bytes, tuple[Future[Any], Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def _ask(self, name: str, given: Any, named: dict[str, Any]) -> Any:
        key = _key(given, named)
        with self._lock:
            known = self._answers.setdefault(name, OrderedDict())
            asked = key not in known
            # What was given is kept as well: opaque objects are known by their identity.
            promise, _ = known.setdefault(key, (Future(), (given, named)))
            known.move_to_end(key)
            while len(known) > KEPT:
                known.popitem(last=False)
        if asked:
            return self._answer(name, key, promise, given, named)
        answer = promise.result()
        return answer if name in _OPAQUE else copy.deepcopy(answer)

    def _answer(
        self, name: str, key: bytes, promise: Future[Any], given: Any, named: dict[str, Any]
    ) -> Any:
        try:
            answer = getattr(self._model, name)(*given, **named)
        except BaseException as error:
            with self._lock:
                self._answers[name].pop(key, None)
            promise.set_exception(error)
            raise
        promise.set_result(answer if name in _OPAQUE else copy.deepcopy(answer))
        return answer


@cache
def _class(pure: tuple[str, ...]) -> type[Remembering]:
    """With methods of its own, since protocols are checked on classes."""

    def asking(name: str) -> Callable[..., Any]:
        def method(self: Remembering, *given: Any, **named: Any) -> Any:
            return self._ask(name, given, named)

        return method

    return type("Remembering", (Remembering,), {name: asking(name) for name in pure})


def _key(given: Any, named: dict[str, Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    _add(digest, (given, sorted(named.items())))
    return digest.digest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).data if value.size else b"")
    elif isinstance(value, (list, tuple)):
        digest.update(f"list {len(value)} ".encode())
        for part in value:
            _add(digest, part)
    elif value is None or isinstance(value, (str, int, float, bool, np.generic)):
        digest.update(f"{type(value).__name__} {value!r} ".encode())
    else:
        digest.update(f"object {id(value)} ".encode())
