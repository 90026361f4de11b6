"""The real server, or the real RunPod worker, as a process of its own, with toy stages.

Run as a script it serves; imported it starts the script.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]


class Jobs:
    """What a client asks of a server's jobs."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=60)

    def run(self, operation, wait=True, headers=None, **data):
        """The answer of `/runsync`, or of `/run`."""
        path = "/runsync" if wait else "/run"
        body = {"input": {"operation": operation, "data": data}}
        return self.http.post(path, json=body, headers=headers)

    def until(self, job_id, *statuses, within_s=60):
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            job = self.http.get(f"/status/{job_id}").json()
            if job["status"] in statuses:
                return job
            time.sleep(0.05)
        raise TimeoutError(f"{job}")


class Server(Jobs):
    """One process on one port, with its jobs and dataset in `folder`."""

    def __init__(self, folder, kind="http", pause_s=0.0, **environment):
        self.folder = Path(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **os.environ,
            "STPE_JOBS_URL": f"sqlite:///{self.folder}/jobs.sqlite3",
            "STPE_JOBS_DATASET": str(self.folder / "dataset"),
            "STPE_SERVE_PORT": str(self.port),
            "STPE_SERVE_PROFILE": "embedded",
            "TOY_PAUSE_S": str(pause_s),
            **environment,
        }
        self.kind = kind
        super().__init__(f"http://127.0.0.1:{self.port}")

    def start(self):
        arguments = [sys.executable, __file__, self.kind]
        if self.kind == "runpod":
            arguments += ["--rp_serve_api", "--rp_api_port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                arguments, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            try:
                self.http.get("/openapi.json")
                return self
            except httpx.TransportError:
                time.sleep(0.05)
        self.kill()
        raise TimeoutError("the server does not answer")

    def kill(self):
        """The server and all that it started: RunPod's SDK asks about the processor in a process
        of its own, which at times never ends."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(90)
            finally:
                self.kill()


@contextmanager
def server(folder, **options):
    running = Server(folder, **options).start()
    try:
        yield running
    finally:
        running.stop()


def _boxed(toys):
    """The toy objects with a box, which no real object lacks."""
    import pyarrow as pa

    from stpe.stages.stage import Output

    class Boxed(toys.Things):
        writes = (*toys.Things.writes, "objects.box_xyxy")

        def answer(self, window):
            rows = super().answer(window).tables["objects"]
            boxes = pa.array([[1.0, 2.0, 9.0, 8.0]] * rows.num_rows, pa.list_(pa.float32()))
            kind = toys.schema("objects").field("box_xyxy").type
            return Output({"objects": rows.append_column("box_xyxy", boxes.cast(kind))})

    return Boxed


def _toys():
    sys.path.insert(0, str(ROOT / "pipeline"))
    import toys

    from stpe.serve.roles import Roles
    from stpe.stages import registry

    registry.STAGES = tuple(_boxed(toys) if s is toys.Things else s for s in toys.STAGES)
    Roles.start = lambda self: None  # no model is needed, so none is loaded ahead
    lease = os.environ.get("TOY_LEASE_S")  # one that dies need not be waited for long
    if lease is not None:
        from stpe.serve.jobs import runner, store

        store.LEASE_S = runner.LEASE_S = float(lease)


def main():
    kind = sys.argv.pop(1)
    _toys()
    if kind == "runpod":
        from stpe.serve.runpod import main as start

        start()
    else:
        from stpe.serve.run import serve

        serve(int(os.environ.get("TOY_REPLICAS", "1")))


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a replica
    _toys()
