"""Mutated pictures and videos against a running server: it must live, and answer each.

    python benchmarks/fuzz.py [--pictures 100000] [--videos 2000] [--seed 1] [--first 0]
                              [--clients 6] [--report FILE.md] [--keep FOLDER]

Starts `stpe serve` on this machine's loopback with the embedded models, and sends it pictures
(`POST /infer`, `depth-estimation`) and videos (most as an upload and a session, whose frames are
all decoded, the rest to `velocity-estimation` and as a job). `--first` skips as many pictures, so
that a long run can be had in parts. Ends with the health check; exits 1 if a request got no answer,
a 5xx, or an answer that is no problem document, or if the server was restarted. `--keep` saves what
killed a decoder.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from fuzz_inputs import mutated, pictures, videos
from stpe.client import Client

COMMAND = [sys.executable, "-c", "from stpe.cli import main; main()"]
NO_MODELS = "clip_classifier", "shot_detector", "pose"
SESSION = "/api/v1/video/session"


class Tally:
    """What came of the requests."""

    def __init__(self, keep: Path | None) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []
        self.died = 0
        self._keep = keep
        self._lock = threading.Lock()

    def add(self, kind: str, status: int, body: bytes, data: bytes) -> None:
        """Count an answer."""
        told = body.decode("utf-8", "replace") if status >= 400 else ""
        died = "the decoder died of it" in told or "did not come to an end" in told
        with self._lock:
            self.answers[kind, f"{status}{' (its decoder died)' if died else ''}"] += 1
            self.died += died
            if died and self._keep is not None:
                (self._keep / f"{kind.replace('/', '-')}-{self.died}").write_bytes(data)
            if status >= 500 or (status >= 400 and '"detail"' not in told):
                self.faults.append(f"{kind}: {status} {told[:200]}")

    def fault(self, kind: str, error: Exception) -> None:
        """Count a request without an answer."""
        with self._lock:
            self.answers[kind, "no answer"] += 1
            self.faults.append(f"{kind}: {type(error).__name__} {error}")

    def table(self) -> str:
        """In Markdown."""
        rows = [
            f"| {kind} | {status} | {n} |" for (kind, status), n in sorted(self.answers.items())
        ]
        return "\n".join(["| request | answer | count |", "|---|---|---|", *rows])


class Asker:
    """One connection to the server, opened again where it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._http: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body of the answer; `body` as it is, or as JSON."""
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        for again in (True, False):
            fresh = self._http is None
            if self._http is None:
                self._http = http.client.HTTPConnection("127.0.0.1", self._port, timeout=180)
            try:
                self._http.request(method, path, content, {"Content-Type": kind})
                answer = self._http.getresponse()
                told = answer.read()
                if answer.status == 503 and answer.headers["Retry-After"]:
                    time.sleep(float(answer.headers["Retry-After"]))
                    return self.ask(method, path, body)
                return answer.status, told
            except (http.client.HTTPException, OSError):
                self._http.close()
                self._http = None
                if fresh or not again:  # an idle connection may have been closed meanwhile
                    raise
        raise AssertionError

    def picture(self, tally: Tally, mime: str, data: bytes) -> None:
        """To a task."""
        payload = base64.b64encode(data).decode()
        body = {"task": "depth-estimation", "payloadBase64": payload, "mimeType": mime}
        tally.add(mime, *self.ask("POST", "/infer", body), data)

    def video(self, tally: Tally, mime: str, data: bytes, number: int) -> None:
        """To a session, a task, or a job."""
        payload = base64.b64encode(data).decode()
        if number % 20 == 0:
            options = {"max_frames": 2, "imgsz": 64}
            task = {"task": "velocity-estimation", "payloadBase64": payload, "mimeType": mime}
            tally.add(
                f"{mime} task", *self.ask("POST", "/infer", {**task, "options": options}), data
            )
        elif number % 100 == 1:
            call = {"operation": "process_video", "data": {"video_base64": payload, "fps": 1}}
            tally.add(f"{mime} job", *self.ask("POST", "/runsync", {"input": call}), data)
        else:
            upload = json.loads(self.ask("POST", "/uploads", data)[1])["upload_id"]
            status, body = self.ask("POST", f"{SESSION}/start", {"upload_id": upload})
            tally.add(f"{mime} session", status, body, data)
            if status == 200:
                session = json.loads(body)["session_id"]
                tally.add("session end", *self.ask("DELETE", f"{SESSION}/{session}"), data)


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A fresh one: its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "STPE_SERVE_PROFILE": "embedded",
        "STPE_SERVE_MODELS": ",".join(f"{role}=none" for role in NO_MODELS),
        "STPE_JOBS_URL": f"sqlite:///{folder}/jobs.sqlite3",
        "STPE_JOBS_DATASET": str(folder / "dataset"),
        "STPE_SERVE_MAX_PIXELS": str(1 << 20),
        "STPE_SERVE_MAX_FRAMES": "2000",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)],
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield port, process
    finally:
        process.terminate()
        process.wait(60)


def run(port: int, arguments: argparse.Namespace, tally: Tally) -> None:
    """Send everything, several clients at a time."""
    lock = threading.Lock()
    cases = (
        (number, mime, data)
        for found in (
            islice(mutated(pictures(), arguments.first + arguments.pictures, arguments.seed),
                   arguments.first, None),
            mutated(videos(), arguments.videos, arguments.seed + arguments.first),
        )
        for number, (mime, data) in enumerate(found)
    )  # fmt: skip

    def client() -> None:
        asker = Asker(port)
        while True:
            with lock:
                case = next(cases, None)
            if case is None:
                return
            number, mime, data = case
            try:
                if mime.startswith("image/"):
                    asker.picture(tally, mime, data)
                else:
                    asker.video(tally, mime, data, number)
            except (http.client.HTTPException, OSError, KeyError, ValueError) as error:
                tally.fault(mime, error)

    threads = [threading.Thread(target=client) for _ in range(arguments.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    """Run, report, and say whether it held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--videos", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    tally = Tally(arguments.keep)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (port, process):
        with Client(f"http://127.0.0.1:{port}") as client:
            client.wait_ready(300)
            before = client.health()
            begun = time.monotonic()
            run(port, arguments, tally)
            seconds = time.monotonic() - begun
            after = client.health()
        lived = process.poll() is None and after["uptime_seconds"] >= seconds
    text = f"""{tally.table()}

{arguments.pictures} pictures from number {arguments.first} and {arguments.videos} videos with seed
{arguments.seed} in {seconds:.0f} s on {platform.platform()} with {os.cpu_count()} cores. Decoders
that died: {tally.died}. Answers that must not be: {len(tally.faults)}. Health check afterwards:
{after["status"]}, up for {after["uptime_seconds"]:.0f} s, {after["pending_requests"]} requests
pending; memory of the server {before["memory_mb"]:.0f} MB before, {after["memory_mb"]:.0f} MB
after. The server {"lived" if lived else "DIED"}.
"""
    print(text)
    for fault in tally.faults[:20]:
        print(fault, file=sys.stderr)
    if arguments.report is not None:
        arguments.report.write_text(text)
    return 0 if lived and not tally.faults else 1


if __name__ == "__main__":
    sys.exit(main())
