from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from runtime.aws import retries as patience
from runtime.aws.retries import RESERVE, patiently, within

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
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    return clock


def test_should_repeat_while_trouble_passes() -> None:
    act = Mock(side_effect=[THROTTLED, THROTTLED, "done"])
    assert patiently(act, within(60)) == "done"


def test_should_give_up_at_once_what_does_not_pass(clock: Clock) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        patiently(Mock(side_effect=REFUSED), within(60))
    assert clock.now == 0


def test_should_give_up_before_the_time_is_over(clock: Clock) -> None:
    with pytest.raises(ClientError, match="Throttling"):
        patiently(Mock(side_effect=THROTTLED), within(60))
    assert 20 < clock.now <= 60 - RESERVE
