"""Load on `POST /infer`: throughput, latency, failures, and what micro-batching gives.

    python benchmarks/serve_load.py [--clients 64] [--seconds 60] [--task object-detection]
                                    [--image FILE]

Starts `stpe serve` three times, with the same requests: many clients with micro-batching, many
clients with one image a model call, and one client that waits for each answer. Every client sends
its next request as soon as it has an answer. Exits 1 if any answer was a 5xx other than 503 with
Retry-After.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
import numpy as np

from stpe.client import Client

COMMAND = [sys.executable, "-c", "from stpe.cli import main; main()"]


@dataclass
class Load:
    """What one run measured."""

    name: str
    seconds: float
    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    without_retry: int = 0
    batch: float = 1.0
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.statuses[200] / self.seconds

    @property
    def failures(self) -> int:
        other = sum(n for status, n in self.statuses.items() if status >= 500 and status != 503)
        return other + self.without_retry

    def line(self) -> str:
        ms = 1000 * np.percentile(self.latencies_s, [50, 99])
        answers = ", ".join(f"{n} x {status}" for status, n in sorted(self.statuses.items()))
        return (
            f"{self.name:28} {self.rate:7.1f} /s   p50 {ms[0]:6.0f} ms   p99 {ms[1]:6.0f} ms   "
            f"batch {self.batch:4.2f}   {1000 * self.cpu_s / max(1, self.statuses[200]):5.0f} "
            f"CPU ms/request   {answers}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--task", default="object-detection")
    parser.add_argument("--image", type=Path, help="a JPEG; a generated one if not given")
    chosen = parser.parse_args()
    body = request(chosen.task, chosen.image)
    loads = []
    for name, clients, batch in (
        (f"{chosen.clients} clients, batched", chosen.clients, 8),
        (f"{chosen.clients} clients, one a call", chosen.clients, 1),
        ("1 client, one at a time", 1, 1),
    ):
        with server(batch) as (url, pid):
            load = asyncio.run(drive(name, url, pid, body, clients, chosen.seconds))
        loads.append(load)
        print(load.line(), flush=True)
    batched, single, alone = loads
    print(f"micro-batching against one image a call: {batched.rate / single.rate:.2f}x")
    print(f"micro-batching against one at a time: {batched.rate / alone.rate:.2f}x")
    return int(any(load.failures for load in loads))


def request(task: str, image: Path | None) -> dict[str, object]:
    if image is None:
        coarse = np.random.default_rng(0).integers(0, 255, (15, 20, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        data = cv2.imencode(".jpg", picture)[1].tobytes()
    else:
        data = image.read_bytes()
    return {
        "task": task,
        "payloadBase64": base64.b64encode(data).decode("ascii"),
        "mimeType": "image/jpeg",
    }


@contextmanager
def server(max_batch: int) -> Iterator[tuple[str, int]]:
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {
            **os.environ,
            "STPE_SERVE_PROFILE": "embedded",
            "STPE_SERVE_MAX_BATCH": str(max_batch),
            "STPE_JOBS_URL": f"sqlite:///{folder}/jobs.sqlite3",
        }
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "serve", "--port", str(port)],
                env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            with Client(url) as client:
                client.wait_ready()
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()


async def drive(
    name: str, url: str, pid: int, body: dict[str, object], clients: int, seconds: float
) -> Load:
    load = Load(name, seconds)
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120) as http:
        (await http.post("/infer", json=body)).raise_for_status()
        cpu_s, deadline = processor_seconds(pid), time.monotonic() + seconds

        async def client() -> None:
            while time.monotonic() < deadline:
                begun = time.monotonic()
                response = await http.post("/infer", json=body)
                load.latencies_s.append(time.monotonic() - begun)
                load.statuses[response.status_code] += 1
                if response.status_code in (429, 503):
                    wait = response.headers.get("retry-after")
                    load.without_retry += wait is None
                    await asyncio.sleep(float(wait or 1))

        await asyncio.gather(*(client() for _ in range(clients)))
        load.seconds = seconds + time.monotonic() - deadline
    load.cpu_s = processor_seconds(pid) - cpu_s
    load.batch = mean_batch(url)
    return load


def processor_seconds(pid: int) -> float:
    """Time that a process has spent on processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def mean_batch(url: str) -> float:
    figures: dict[str, float] = {}
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith("stpe_batch_size_"):
            name, value = line.rsplit(" ", 1)
            figures[name.partition("{")[0]] = figures.get(name.partition("{")[0], 0) + float(value)
    return figures.get("stpe_batch_size_sum", 1.0) / figures.get("stpe_batch_size_count", 1.0)


if __name__ == "__main__":
    sys.exit(main())
