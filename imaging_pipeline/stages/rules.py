"""Which settings of a stage make no sense together, each with the sentence that refuses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import STEPS, Function

STEP_ATTEMPTS: Final = 4
"""Attempts a step may need before it gives up: the first and three retries."""

SHORTEST_CHECK_SECONDS: Final = 180
"""Of a reconciliation, whose three parts each begin only what half a minute is left for."""

EXPIRY_DAYS: Final = 7
"""That S3 may take, at midnight and asynchronously, to remove what has expired."""

LONGEST_STAGE_WITH_DELIVERY: Final = 14
"""So that `<stack>-delivery-<region>` has no more than 64 characters in the region with the longest name."""

LONGEST_PRINCIPALS: Final = 1900
"""Of the delivery role, as JSON; the rest of its trust policy takes the difference."""

GOV_CLOUD: Final = "us-gov-"
OTHER_DOMAINS: Final = ("cn-", "us-iso", "eu-iso")
"""Beginnings of regions in partitions of AWS whose services don't answer below `amazonaws.com`."""


def problems(config: StageConfig) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with a stage as a whole; each setting by itself is valid."""
    rules = (*_environment(config), *_times(config), *_retention(config), *_replication(config), *_options(config))
    yield from (sentence for is_broken, sentence in rules if is_broken)


Rules = Iterator[tuple[bool, str]]


def _environment(config: StageConfig) -> Rules:
    yield (
        config.explicit_environment and not (config.account and config.region),
        "needs an explicit account and region: add `-c account=<12 digits> -c region=<name>`",
    )
    for setting in ("region", "replica_region"):
        region = getattr(config, setting)
        yield (
            region is not None and region.startswith(OTHER_DOMAINS),
            f"{setting} must not be {region}: AWS's services have other names there, which no policy of the pipeline"
            " knows",
        )
    boundary_account = (config.permissions_boundary or "").split(":")[4:5]
    yield (
        config.account is not None and boundary_account not in ([], ["aws"], [config.account]),
        f"permissions_boundary must be a policy of account {config.account}, or one of AWS",
    )
    yield (
        bool(config.pseudonym_key_arn and config.region and f":{config.region}:" not in config.pseudonym_key_arn),
        f"pseudonym_key_arn must be of a secret in {config.region}",
    )


def _times(config: StageConfig) -> Rules:
    longest = STEP_ATTEMPTS * sum(config.functions[step].timeout_seconds for step in STEPS)
    yield (
        config.workflow_timeout_seconds <= longest,
        f"workflow_timeout_seconds must exceed the {longest} s that the steps may take",
    )
    yield (
        config.stuck_after_seconds <= config.execution_timeout_seconds,
        f"stuck_after_seconds must exceed the {config.execution_timeout_seconds} s that an execution may take",
    )
    check_seconds = config.functions[Function.RECONCILIATION].timeout_seconds
    yield (
        check_seconds < SHORTEST_CHECK_SECONDS,
        f"functions.reconciliation.timeout_seconds must be at least {SHORTEST_CHECK_SECONDS}: it searches three times",
    )
    yield (
        config.reconciliation_minutes * 60 < check_seconds,
        f"reconciliation_minutes must not be less than the {check_seconds} s that one check may take",
    )
    reserved = config.functions[Function.DISPATCHER].reserved_concurrency
    yield (
        reserved is not None and reserved < config.dispatcher_concurrency,
        "dispatcher_concurrency must not exceed functions.dispatcher.reserved_concurrency: what is throttled comes back"
        " until it is a dead letter",
    )


def _retention(config: StageConfig) -> Rules:
    yield (
        config.termination_protection and not config.retain_data,
        "retain_data must stay true under termination_protection: what may not be deleted must not lose data",
    )
    yield (
        config.glacier_after_days < config.infrequent_access_after_days + 30,
        "glacier_after_days must be at least 30 days after infrequent_access_after_days",
    )
    for setting in ("raw_retention_days", "processed_retention_days", "operations_retention_days"):
        yield (
            bool(getattr(config, setting)) and not config.noncurrent_retention_days,
            f"{setting} needs noncurrent_retention_days, since an expired object is kept as a version",
        )
    yield from _ledger_retention(config)
    days = config.object_lock_days
    yield (
        (config.object_lock_mode is None) != (days is None),
        "object_lock_mode and object_lock_days belong together: give both or neither",
    )
    yield (
        days is not None and not config.retain_data,
        "object_lock_mode needs retain_data, since a bucket of locked objects can't be deleted",
    )
    yield (
        days is not None and config.raw_retention_days is not None and config.raw_retention_days < days,
        "raw_retention_days must not end before object_lock_days, while nothing can be deleted",
    )


def _ledger_retention(config: StageConfig) -> Rules:
    # Reconciliation starts an object without a row again; announcements leave out results without one.
    kept, raw, processed = (getattr(config, f"{name}_retention_days") for name in ("ledger", "raw", "processed"))
    if kept is None:
        return
    if raw is None or processed is None:
        yield (
            True,
            "ledger_retention_days needs raw_retention_days and processed_retention_days: a row must outlive its object"
            " and its result",
        )
        return
    shortest = raw + (config.noncurrent_retention_days or 0) + processed + EXPIRY_DAYS
    yield (
        kept < shortest,
        f"ledger_retention_days must be at least {shortest}: raw_retention_days, noncurrent_retention_days,"
        f" processed_retention_days and {EXPIRY_DAYS} that S3 may take",
    )


def _replication(config: StageConfig) -> Rules:
    region, replica_region = config.region, config.replica_region
    if replica_region is None:
        return
    yield not (config.account and region), "replica_region needs an explicit account and region"
    yield replica_region == region, f"replica_region must be another region than {region}"
    yield (
        region is not None and _partition(replica_region) != _partition(region),
        f"replica_region must be in the same partition of AWS as {region}",
    )


def _options(config: StageConfig) -> Rules:
    yield (
        config.vpc_cidr is not None and config.runs_on_this_machine,
        "vpc_cidr is not for functions that run on this machine, where there is no VPC",
    )
    yield (
        config.vpc_cidr is None and "vpc_availability_zones" in config.model_fields_set,
        "vpc_availability_zones needs vpc_cidr, without which there is no VPC",
    )
    zones = config.vpc_availability_zones
    yield (
        isinstance(zones, tuple) and any(zone[:-1] != config.region for zone in zones),
        f"vpc_availability_zones must be of {config.region or 'an explicit region'}",
    )
    yield (
        bool(config.delivery_principals) and len(config.stage) > LONGEST_STAGE_WITH_DELIVERY,
        f"delivery_principals need a stage's name of at most {LONGEST_STAGE_WITH_DELIVERY} characters: IAM allows the"
        " role 64",
    )
    yield (
        config.failure_notifications and config.workflow_type == "EXPRESS",
        "failure_notifications needs workflow_type STANDARD: of an EXPRESS execution's end AWS sends no event",
    )
    yield (
        len(json.dumps(config.delivery_principals)) > LONGEST_PRINCIPALS,
        f"delivery_principals must not take more than {LONGEST_PRINCIPALS} characters: IAM allows a role's trust policy"
        " 2048",
    )
    yield (
        bool(config.delivery_principals or config.delivery_networks) and config.runs_on_this_machine,
        "delivery_principals and delivery_networks are not for functions that run on this machine, since the emulator"
        " takes no session for its role",
    )


def _partition(region: str) -> str:
    """Return what tells the partition of AWS in a region's name; nothing is replicated from one to another."""
    return next((beginning for beginning in (GOV_CLOUD, *OTHER_DOMAINS) if region.startswith(beginning)), "")
