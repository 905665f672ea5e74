"""Stages with an option on, as the command line and `cdk.context.json` would ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from imaging_pipeline.stages.definitions import STAGES
from tests.infrastructure.conftest import StageTemplate, synthesized

ACCOUNT: Final = "123456789012"
RESEARCHERS: Final = f"arn:aws:iam::{ACCOUNT}:role/researchers"
PORTAL: Final = f"arn:aws:iam::{ACCOUNT}:user/portal"
RANGE: Final = "198.51.100.0/24"
ENDPOINT: Final = "vpce-0123456789abcdef0"

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "network": {"vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": 3},
    "boundary": {"permissions_boundary": "pipeline-boundary"},
    "delivery": {"delivery_principals": [RESEARCHERS, PORTAL], "delivery_networks": [RANGE, ENDPOINT]},
    "no-xray": {"xray": False},
    "addresses": {
        "alert_emails": ["oncall@example.org"],
        "delivery_emails": ["research@example.org"],
        "failure_notifications": True,
    },
}

DURABILITY: Mapping[str, Any] = {
    "account": ACCOUNT,
    "region": "eu-central-1",
    "replica_region": "eu-west-1",
    "object_lock_mode": "GOVERNANCE",
    "object_lock_days": 30,
    "raw_retention_days": 400,
    "processed_retention_days": 400,
    "operations_retention_days": 30,
    "noncurrent_retention_days": 35,
    "ledger_retention_days": 842,
    "trail_retention_days": 365,
}
EVERY_OPTION: Mapping[str, Any] = {
    **DURABILITY,
    **{name: value for option in OPTIONS.values() for name, value in option.items()},
}
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{stage: (stage, {}) for stage in STAGES},
    **{f"dev, {option}": ("dev", settings) for option, settings in OPTIONS.items()},
    "dev, express": ("dev", {"workflow_type": "EXPRESS"}),
    "staging, every option": ("staging", EVERY_OPTION),
    "prod, every option": ("prod", EVERY_OPTION),
    "prod, every option, express": (
        "prod",
        {**EVERY_OPTION, "workflow_type": "EXPRESS", "failure_notifications": False},
    ),
}
"""Every stage and option, by what it is called in tests."""


@cache
def variant(name: str) -> StageTemplate:
    """A stage as `VARIANTS` has it; synthesized once for all tests."""
    stage, settings = VARIANTS[name]
    return StageTemplate(stage, **settings) if settings else synthesized(stage)


@cache
def with_option(option: str, stage: str = "dev") -> StageTemplate:
    """A stage with an option on; synthesized once for all tests."""
    return StageTemplate(stage, **OPTIONS[option])


@cache
def with_every_option(stage: str) -> StageTemplate:
    """A stage with every option on at once."""
    return StageTemplate(stage, **EVERY_OPTION)
