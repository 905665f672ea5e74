"""The AWS environment of a local run: test credentials, the emulator's endpoint, and nothing of the user's own.

No variable, profile, configuration file or metadata endpoint of the user's AWS set-up reaches what runs in here, and
the endpoint is an address of the loopback interface or nothing is created at all.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from local.errors import LocalRunError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ACCOUNT = "000000000000"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost")
"""What no proxy may be asked for."""

# What the tools under us may know of the user's machine: its language and temporary files, how to reach package
# registries, and that this is a continuous-integration run. An allow-list, since the next AWS_* variable is unknown.
_INHERITED = frozenset(
    {
        *("PATH", "TMPDIR", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CI"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    }
)
_INHERITED_PREFIXES = ("LC_", "PIP_", "NPM_CONFIG_")


def require_loopback(endpoint: str) -> None:
    """Refuse an endpoint that is not a literal address of the loopback interface.

    A name such as `localhost` is refused too: what it resolves to is up to the machine.

    Raises
    ------
    LocalRunError
        The endpoint could be another machine.
    """
    parts = urlsplit(endpoint)
    try:
        safe = parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        safe = False
    if not safe or parts.username is not None:
        raise LocalRunError(f"Refusing to use {endpoint!r} as the emulator: it is not an http address on 127.0.0.1.")


def isolated_environment(endpoint: str, home: Path, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which SDKs and the CDK CLI reach the emulator and nothing else.

    Parameters
    ----------
    endpoint
        URL of the emulator; must be on the loopback interface.
    home
        Folder that stands in for the user's home, so that `~/.aws`, `~/.cdk.json` and the CLI's caches stay apart.
    inherited
        The user's environment, by default that of this process.

    Raises
    ------
    LocalRunError
        The endpoint could be another machine.
    """
    require_loopback(endpoint)
    user = os.environ if inherited is None else inherited
    environment = {
        name: value
        for name, value in user.items()
        if name.upper() in _INHERITED or name.upper().startswith(_INHERITED_PREFIXES)
    }
    environment |= _package_managers(Path(user.get("HOME", "/nonexistent")), environment)
    return environment | {
        "HOME": str(home),
        "NO_PROXY": ",".join(LOOPBACK_HOSTS),
        "no_proxy": ",".join(LOOPBACK_HOSTS),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }


def _package_managers(user_home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Keep settings and caches of pip, npm and jsii where the user has them, though the home is another.

    Caches that can't be in the user's home are in the project.
    """
    own = user_home / ".cache"
    cache = own if _is_writable(own) else PROJECT_ROOT / ".build" / "cache"
    places = {
        "XDG_CACHE_HOME": cache,
        "NPM_CONFIG_CACHE": user_home / ".npm" if _is_writable(user_home / ".npm") else cache / "npm",
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": cache / "aws" / "jsii" / "package-cache",
    }
    if user_home.is_dir():
        places |= {"XDG_CONFIG_HOME": user_home / ".config", "NPM_CONFIG_USERCONFIG": user_home / ".npmrc"}
    present = {name.upper() for name in environment}
    return {name: str(path) for name, path in places.items() if name not in present}


def _is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written, or made where it is missing."""
    return os.access(folder if folder.exists() else folder.parent, os.W_OK)


@contextmanager
def isolation(environment: Mapping[str, str]) -> Iterator[None]:
    """Let this process see `environment` alone, so that every SDK client it makes inside is the emulator's."""
    require_loopback(environment["AWS_ENDPOINT_URL"])
    users_own = dict(os.environ)
    users_session = boto3.DEFAULT_SESSION
    os.environ.clear()
    os.environ.update(environment)
    boto3.DEFAULT_SESSION = None
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(users_own)
        boto3.DEFAULT_SESSION = users_session
