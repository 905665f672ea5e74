"""How many objects an hour the account's quotas and the stage's settings allow, and which of them ends first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from acceptance.preflight.aws import Aws
from acceptance.preflight.deployed import Deployed
from acceptance.preflight.findings import Finding, Verdict, look
from acceptance.preflight.plan import Plan, Target
from acceptance.preflight.quotas.codes import (
    CONCURRENCY,
    EXPRESS_STARTS,
    EXPRESS_STARTS_BUCKET,
    PUT_EVENTS,
    STARTS,
    STARTS_BUCKET,
    TABLE_WRITES,
    TRANSITIONS,
    TRANSITIONS_BUCKET,
    Quota,
    count,
    granted,
)
from acceptance.preflight.quotas.usage import Usage, usage
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import STEPS, Function

SCHEDULED: Final = 2
"""Calls at once of the functions that run by the clock: reconciliation and completeness."""
KEPT_UNRESERVED: Final = 100
"""Calls at once that Lambda lets nobody reserve; in an account with fewer, all of them."""
HEADROOM: Final = 1.25
"""Of what is wanted, for other users of the account and for retries."""
HOUR: Final = 3600


@dataclass(frozen=True)
class Ceiling:
    """How many objects an hour something allows, and how to raise it."""

    name: str
    objects_per_hour: float
    seen: str
    more: str

    def finding(self, wanted: float | None) -> Finding:
        """Return what it means for the objects that are wanted in an hour."""
        seen = f"{self.seen}: {count(self.objects_per_hour)} objects/h"
        if wanted is None or self.objects_per_hour >= wanted * HEADROOM:
            return Finding(self.name, Verdict.OK, seen)
        verdict = Verdict.FAILURE if self.objects_per_hour < wanted else Verdict.WARNING
        return Finding(self.name, verdict, seen, f"{count(wanted)} objects/h: {self.more}")


@dataclass(frozen=True)
class Rate:
    """Quota of something a second: tokens that come back, and the bucket that holds them."""

    name: str
    refill: Quota
    bucket: Quota | None
    each: float
    """Tokens that an object takes."""
    otherwise: str = ""
    """What helps besides more of it."""


def check_throughput(
    aws: Aws, plan: Plan, target: Target, deployed: Deployed | None, wanted: float | None
) -> Iterator[Finding]:
    """Tell how many objects an hour each quota and setting allows, and which one ends first."""
    one = usage(target.stack.template)
    questions: dict[str, Callable[[], Iterator[Ceiling | Finding]]] = {
        rate.name: partial(_rate, aws, target, rate) for rate in _rates(plan.config, one)
    }
    questions["Lambda concurrency"] = partial(_concurrency, aws, plan.config, deployed, one)
    found = [each for check, ask in questions.items() for each in look(check, ask)]
    ceilings = [each for each in found if isinstance(each, Ceiling)]
    yield from (each.finding(wanted) if isinstance(each, Ceiling) else each for each in found)
    if ceilings:
        first = min(ceilings, key=lambda ceiling: ceiling.objects_per_hour)
        seen = f"{first.name}, at {count(first.objects_per_hour)} objects/h"
        if any(isinstance(each, Finding) and each.verdict is Verdict.UNSEEN for each in found):
            seen = f"{seen}, of what could be looked at"
        yield Finding("ends first", Verdict.OK, seen, f"for more: {first.more}")


def _rates(config: StageConfig, one: Usage) -> Iterator[Rate]:
    if config.workflow_type == "EXPRESS":
        yield Rate("StartExecution", EXPRESS_STARTS, EXPRESS_STARTS_BUCKET, each=1)
    else:
        express = ", or workflow_type=EXPRESS"
        yield Rate("state transitions", TRANSITIONS, TRANSITIONS_BUCKET, each=one.transitions, otherwise=express)
        yield Rate("StartExecution", STARTS, STARTS_BUCKET, each=1, otherwise=express)
    yield Rate("PutEvents", PUT_EVENTS, None, each=one.events)
    yield Rate("DynamoDB writes", TABLE_WRITES, None, each=one.writes)


def _rate(aws: Aws, target: Target, rate: Rate) -> Iterator[Ceiling]:
    a_second, code = granted(aws, target, rate.refill)
    seen, more = f"{count(a_second)}/s", f"ask for {code}"
    if rate.bucket:
        burst, bucket_code = granted(aws, target, rate.bucket)
        seen, more = f"{seen} ({count(burst)} at once)", f"{more} and {bucket_code}"
    yield Ceiling(rate.name, a_second / rate.each * HOUR, f"{seen}, {rate.each:g} an object", f"{more}{rate.otherwise}")


def _concurrency(aws: Aws, config: StageConfig, deployed: Deployed | None, one: Usage) -> Iterator[Ceiling | Finding]:
    limit = aws.ask("lambda", "GetAccountSettings")["AccountLimit"]
    reserved = {name: each.reserved_concurrency for name, each in config.functions.items() if each.reserved_concurrency}
    free = limit["UnreservedConcurrentExecutions"] + _reserved(deployed) - sum(reserved.values())
    total, more = limit["ConcurrentExecutions"], f"ask for {CONCURRENCY.code}"
    if reserved:
        yield _reservation(sum(reserved.values()), total, free)
    for name in one.seconds.keys() & reserved.keys():
        capacity = reserved[name] / one.seconds[name] * HOUR
        raised = f"raise functions.{name}.reserved_concurrency"
        yield Ceiling(f"{name}, reserved", capacity, f"{reserved[name]} at once", raised)
    if shared := one.seconds.keys() - reserved.keys():
        seconds = sum(one.seconds[name] for name in shared)
        capacity = max(free - SCHEDULED, 0) / seconds * HOUR
        seen = f"{free} of {count(total)} unreserved, {seconds:g} s an object"
        yield Ceiling("Lambda concurrency", capacity, seen, more)
    dispatchers = config.dispatcher_concurrency
    capacity = dispatchers / one.seconds[Function.DISPATCHER] * HOUR
    yield Ceiling("dispatchers", capacity, f"{dispatchers} at once", "raise dispatcher_concurrency")
    if Function.DISPATCHER in shared and free - dispatchers < SCHEDULED + len(STEPS):
        seen = f"a burst's {dispatchers} dispatchers leave {max(free - dispatchers, 0)} of {free}"
        yield Finding("Lambda burst", Verdict.WARNING, seen, f"{more}, or lower dispatcher_concurrency")


def _reservation(reserved: int, total: int, free: int) -> Finding:
    kept = min(KEPT_UNRESERVED, total)
    seen = f"{reserved} of {count(total)}, which leaves {free}"
    if free >= kept:
        return Finding("Lambda reserved", Verdict.OK, seen)
    needed = f"Lambda keeps {kept} unreserved: reserve less, or ask for {CONCURRENCY.code}"
    return Finding("Lambda reserved", Verdict.FAILURE, seen, needed)


def _reserved(deployed: Deployed | None) -> int:
    """Return what the deployed stage has reserved, which its update may use again."""
    resources = deployed.resources.values() if deployed else ()
    functions = (body.get("Properties", {}) for body in resources if body["Type"] == "AWS::Lambda::Function")
    return sum(int(function.get("ReservedConcurrentExecutions", 0)) for function in functions)
