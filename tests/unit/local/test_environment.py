"""A local run can't reach a real AWS account, whatever the user's machine is set up for."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import boto3
import pytest

from local.environment import PROJECT_ROOT, isolated_environment, isolation, require_loopback
from local.errors import LocalRunError

ENDPOINT = "http://127.0.0.1:4566"

USERS_OWN = {
    "PATH": "/usr/bin",
    "AWS_PROFILE": "hospital-production",
    "AWS_DEFAULT_PROFILE": "hospital-production",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real-secret",
    "AWS_SESSION_TOKEN": "real-token",
    "AWS_SECURITY_TOKEN": "real-token",
    "AWS_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": "/home/user/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/home/user/.aws/credentials",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/admin",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/credentials",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/credentials",
    "AWS_ENDPOINT_URL": "https://s3.amazonaws.com",
    "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_CA_BUNDLE": "/etc/hospital.pem",
    "CDK_DEFAULT_ACCOUNT": "123456789012",
    "CDK_DEFAULT_REGION": "eu-central-1",
    "BOTO_CONFIG": "/home/user/.boto",
    "PYTHONPATH": "/home/user/src",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.amazonaws.com",
        "http://s3.amazonaws.com",
        "http://localhost:4566",
        "http://127.0.0.1.example.org:4566",
        "http://127.0.0.1@example.org:4566",
        "http://example.org@127.0.0.1:4566",
        "http://0.0.0.0:4566",
        "http://169.254.169.254",
        "http://192.168.1.5:4566",
        "https://127.0.0.1:4566",
        "127.0.0.1:4566",
        "",
    ],
)
def test_should_refuse_an_endpoint_that_could_be_another_machine(endpoint: str, home: Path) -> None:
    with pytest.raises(LocalRunError, match="Refusing"):
        require_loopback(endpoint)
    with pytest.raises(LocalRunError, match="Refusing"):
        isolated_environment(endpoint, home, {})


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4566", "http://127.5.0.1:80", "http://[::1]:4566"])
def test_should_accept_an_address_of_the_loopback_interface(endpoint: str) -> None:
    require_loopback(endpoint)


def test_should_inherit_no_aws_setting_of_the_user(home: Path) -> None:
    environment = isolated_environment(ENDPOINT, home, USERS_OWN)

    inherited = {name: value for name, value in environment.items() if USERS_OWN.get(name) == value}
    assert inherited == {"PATH": "/usr/bin"}
    assert not [value for value in environment.values() if "real" in value.lower() or "hospital" in value]


def test_should_set_credentials_files_metadata_and_home_out_of_reach(home: Path) -> None:
    environment = isolated_environment(ENDPOINT, home, USERS_OWN | {"HOME": "/home/user"})

    assert environment["AWS_ENDPOINT_URL"] == ENDPOINT
    assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert environment["AWS_EC2_METADATA_DISABLED"] == "true"
    assert environment["AWS_ACCESS_KEY_ID"] == environment["AWS_SECRET_ACCESS_KEY"] == "test"
    assert environment["HOME"] == str(home)


def test_should_keep_proxies_for_package_registries_but_not_for_the_emulator(home: Path) -> None:
    proxies = {"https_proxy": "http://proxy:3128", "HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "example.org"}

    environment = isolated_environment(ENDPOINT, home, proxies)

    assert environment["https_proxy"] == environment["HTTP_PROXY"] == "http://proxy:3128"
    assert "127.0.0.1" in environment["NO_PROXY"].split(",")
    assert "127.0.0.1" in environment["no_proxy"].split(",")


def test_should_keep_registries_and_caches_where_the_user_has_them(home: Path, tmp_path: Path) -> None:
    settings = {"HOME": str(tmp_path), "PIP_INDEX_URL": "https://pip.example.org", "npm_config_cache": "/cache/npm"}

    environment = isolated_environment(ENDPOINT, home, settings)

    assert environment["PIP_INDEX_URL"] == "https://pip.example.org"
    assert environment["npm_config_cache"] == "/cache/npm"
    assert "NPM_CONFIG_CACHE" not in environment
    assert environment["NPM_CONFIG_USERCONFIG"] == str(tmp_path / ".npmrc")


def test_should_keep_caches_in_the_project_where_the_home_can_not_be_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in (tmp_path, Path("/nonexistent")))

    caches = [
        value
        for user_home in (tmp_path, Path("/nonexistent"))
        for name, value in isolated_environment(ENDPOINT, home, {"HOME": str(user_home)}).items()
        if "CACHE" in name
    ]

    assert len(caches) == 6
    assert all(Path(cache).is_relative_to(PROJECT_ROOT / ".build") for cache in caches)


@pytest.mark.parametrize("service", ["s3", "sts", "stepfunctions", "cloudformation", "lambda", "secretsmanager"])
def test_should_point_every_client_at_the_emulator_despite_the_users_profile(
    service: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[profile hospital-production]\nregion = eu-central-1\nendpoint_url = https://example.org\n"
        "[default]\nendpoint_url = https://example.org\n"
    )
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AKIAREAL\naws_secret_access_key = real\n")
    for name, value in USERS_OWN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    with isolation(isolated_environment(ENDPOINT, home)):
        client = boto3.client(service)  # type: ignore[call-overload]
        credentials = boto3.Session().get_credentials()

    assert client.meta.endpoint_url == ENDPOINT
    assert credentials is not None
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("test", "test", None)


def test_should_give_the_user_their_environment_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "hospital-production")
    before = dict(os.environ)

    with contextlib.suppress(KeyboardInterrupt), isolation(isolated_environment(ENDPOINT, home)):
        assert "AWS_PROFILE" not in os.environ
        raise KeyboardInterrupt

    assert dict(os.environ) == before


def test_should_refuse_to_isolate_towards_another_machine(home: Path) -> None:
    environment = isolated_environment(ENDPOINT, home, {}) | {"AWS_ENDPOINT_URL": "https://s3.amazonaws.com"}

    with pytest.raises(LocalRunError, match="Refusing"), isolation(environment):
        pytest.fail("must not get here")
