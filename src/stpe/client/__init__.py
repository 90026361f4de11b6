"""A typed client of `stpe serve`, blocking and for event loops.

>>> with Client("http://127.0.0.1:8000", retry=Retry(times=5)) as client:  # doctest: +SKIP
...     answer = client.infer("object-detection", Path("street.jpg"))
...     [(found.label, found.score, found.box) for found in answer.results]
...     upload = client.upload(Path("film.mp4"))
...     client.run("process_video", upload_id=upload.upload_id)["captions"]["summary"]
"""

from stpe.client.awaited import AsyncClient
from stpe.client.blocking import Client
from stpe.client.errors import (
    JobFailedError,
    RequestFailedError,
    SessionError,
    UnreadableAnswerError,
)
from stpe.client.requests import Answer
from stpe.client.retry import Retry

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "JobFailedError",
    "RequestFailedError",
    "Retry",
    "SessionError",
    "UnreadableAnswerError",
]
