from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError

from runtime.aws import clients
from runtime.aws.clock import countdown
from runtime.aws.retries import RESERVE, retry

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "StartExecution")
REFUSED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "StartExecution")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("runtime.aws.retries.time", clock)
    monkeypatch.setattr("runtime.aws.clock.time", clock)
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    return clock


def test_should_retry_while_an_error_is_transient() -> None:
    act = Mock(side_effect=[THROTTLED, THROTTLED, "done"])
    assert retry(act, countdown(60)) == "done"


def test_should_raise_at_once_what_is_not_transient(clock: Clock) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        retry(Mock(side_effect=REFUSED), countdown(60))
    assert clock.now == 0


def test_should_raise_before_the_time_is_over(clock: Clock) -> None:
    with pytest.raises(ClientError, match="Throttling"):
        retry(Mock(side_effect=THROTTLED), countdown(60))
    assert 20 < clock.now <= 60 - RESERVE


def test_should_end_the_attempts_of_a_client_within_the_reserve() -> None:
    """Three time-outs, and the pauses of botocore's standard mode, which are of up to 1 s and 2 s."""
    assert clients.ATTEMPTS * max(clients.READ_TIMEOUT, clients.CONNECT_TIMEOUT) + 1 + 2 < RESERVE


def test_should_give_every_client_one_policy_but_for_what_deviates() -> None:
    session = boto3.Session("id", "secret", region_name="eu-central-1")
    standard = clients.client("sqs", session=session)
    deviating = clients.client("s3", session=session, attempts=6, read_timeout=60)
    assert policy_of(standard) == ("standard", 3, 3, 5)
    assert policy_of(deviating) == ("standard", 6, 3, 60)


def policy_of(client: Any) -> tuple[str, int, float, float]:
    config = client.meta.config
    retries = config.retries
    return retries["mode"], retries["total_max_attempts"], config.connect_timeout, config.read_timeout
