"""A burst waits instead of failing, and an event that comes again starts nothing."""

from __future__ import annotations

import random
import time

import pytest

from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from tests.stress.conftest import Figures
from tests.stress.deployed import Deployed
from tests.stress.faults import Faults, mixture
from tests.stress.objects import Burst, image


def test_should_account_for_each_object_of_a_burst(deployed: Deployed, figures: Figures, size: int) -> None:
    burst = Burst.of(size, "burst/")

    deployed.upload(burst.objects)
    accounts = deployed.settle("burst/", size)

    burst.check(deployed, accounts, figures)
    assert accounts.failed_attempts, "nothing was throttled: the burst proves nothing"
    assert all(len(versions) == 1 for versions in accounts.results.values())


def test_should_start_nothing_for_an_event_that_comes_again(deployed: Deployed, figures: Figures, size: int) -> None:
    burst = Burst.of(size // 5, "thrice/")
    keys = 3 * list(burst.objects)
    random.Random(1).shuffle(keys)
    with deployed.without_rule():
        deployed.upload(burst.objects)

        deployed.send_events(keys)
        accounts = deployed.settle("thrice/", len(burst.objects))

    burst.check(deployed, accounts, figures)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_should_lose_nothing_to_faults(
    share: float, deployed: Deployed, faults: Faults, figures: Figures, size: int
) -> None:
    prefix = f"faults-{share}/"
    burst = Burst.of(max(size // 10, 40), prefix, large=4)
    with deployed.reaching_aws_at(faults.endpoint):
        faults.inject(mixture(share))
        deployed.upload(burst.objects)
        accounts = deployed.settle(prefix, len(burst.objects), timeout_seconds=240)
        while failed := accounts.statuses[LedgerStatus.FAILED]:
            figures.redriven += failed
            deployed.run("redrive", endpoint=faults.endpoint)
            accounts = deployed.settle(prefix, len(burst.objects))
        figures.faults = faults.injected().total()

    deployed.sweep()
    burst.check(deployed, accounts, figures)
    assert {"s3", "dynamodb", "stepfunctions"} <= set(faults.injected())
    assert deployed.uploads() == []


def test_should_bring_dead_letters_back_through_faults(deployed: Deployed, faults: Faults, figures: Figures) -> None:
    objects = {f"dead/{number}.dcm": image() for number in range(12)}
    figures.objects = len(objects)
    with deployed.without_rule():
        deployed.upload(objects)
    deployed.send_events(list(objects), Output.INTAKE_DEAD_LETTERS_URL)
    faults.inject(mixture(0.3))

    deadline = time.monotonic() + 300
    while deployed.run("dead-letters", "replay", "intake", endpoint=faults.endpoint).returncode:
        assert time.monotonic() < deadline
        time.sleep(5)
    accounts = deployed.settle("dead/", len(objects))

    figures.faults, figures.seconds = faults.injected().total(), accounts.seconds
    assert faults.injected()["sqs"]
    assert accounts.statuses == {LedgerStatus.DELIVERED: len(objects)}
    assert accounts.executions == len(objects)
