"""Types of settings whose values AWS bounds, each readable from a structure and from the command line's text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from aws_cdk.aws_logs import RetentionDays
from pydantic import AfterValidator, BeforeValidator, Field

PROFILES: Final = Path(__file__).resolve().parents[2] / "runtime" / "deidentification" / "profiles"
TAGS_OF_A_RESOURCE: Final = 50
MOST_ZONES: Final = 6
"""Availability zones of the region that has most."""
OWN_TAGS: Final = ("project", "stage")

LOG_RETENTION: Final[Mapping[int, RetentionDays]] = {
    1: RetentionDays.ONE_DAY,
    3: RetentionDays.THREE_DAYS,
    5: RetentionDays.FIVE_DAYS,
    7: RetentionDays.ONE_WEEK,
    14: RetentionDays.TWO_WEEKS,
    30: RetentionDays.ONE_MONTH,
    60: RetentionDays.TWO_MONTHS,
    90: RetentionDays.THREE_MONTHS,
    120: RetentionDays.FOUR_MONTHS,
    150: RetentionDays.FIVE_MONTHS,
    180: RetentionDays.SIX_MONTHS,
    365: RetentionDays.ONE_YEAR,
    400: RetentionDays.THIRTEEN_MONTHS,
    545: RetentionDays.EIGHTEEN_MONTHS,
    731: RetentionDays.TWO_YEARS,
    1096: RetentionDays.THREE_YEARS,
    1827: RetentionDays.FIVE_YEARS,
    2192: RetentionDays.SIX_YEARS,
    2557: RetentionDays.SEVEN_YEARS,
    2922: RetentionDays.EIGHT_YEARS,
    3288: RetentionDays.NINE_YEARS,
    3653: RetentionDays.TEN_YEARS,
}
"""The days that CloudWatch Logs can keep events for."""

# Addresses that no request to S3 comes from as S3 sees it.
INVISIBLE: Final = tuple(
    ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def _split_at_commas(value: object) -> object:
    """Accept `a,b` where a list is meant, since context values from the command line are strings."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _split_at_every_comma(value: object) -> object:
    """Accept `.dcm,` where a list is meant whose empty part means something; no text at all is an empty list."""
    return value.split(",") if isinstance(value, str) and value else _split_at_commas(value)


def _split_into_pairs(value: object) -> object:
    """Accept `a=1,b=2` where a mapping is meant."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("say it as <name>=<value>,<name>=<value>")
    return {name: text for name, _, text in pairs}


def _days_as_retention(value: object) -> object:
    """Accept days where CloudWatch Logs' name of a retention is meant."""
    days = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(days, int):
        return value
    if days not in LOG_RETENTION:
        raise ValueError(f"CloudWatch keeps logs for one of {', '.join(map(str, LOG_RETENTION))} days")
    return LOG_RETENTION[days]


def _check_profile(name: str) -> str:
    names = sorted(profile.stem for profile in PROFILES.glob("*.toml"))
    if name not in names:
        raise ValueError(f"there is no such profile: choose one of {', '.join(names)}")
    return name


def _check_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Hold tags to what every service allows; IAM alone takes names that differ in case for the same."""
    if len(tags) > TAGS_OF_A_RESOURCE - len(OWN_TAGS):
        raise ValueError(f"AWS allows {TAGS_OF_A_RESOURCE} tags a resource, and {len(OWN_TAGS)} are the pipeline's own")
    names = [name.lower() for name in tags]
    if own := sorted(set(names) & set(OWN_TAGS)):
        raise ValueError(f"{' and '.join(own)} are the pipeline's own tags")
    if len(set(names)) < len(names):
        raise ValueError("names must differ by more than upper and lower case")
    for name, text in tags.items():
        if not 1 <= len(name) <= 128 or len(text) > 256:
            raise ValueError("a tag's name has 1 to 128 characters, and its value up to 256")
        if name.lower().startswith("aws:"):
            raise ValueError("names that begin with aws: are for AWS")
        if not all(character.isalnum() or character in " _.:/=+-@" for character in name + text):
            raise ValueError("a tag holds letters, digits, spaces and _ . : / = + - @ only")
    return tags


def _check_vpc_cidr(text: str) -> str:
    try:
        network = IPv4Network(text)
    except ValueError:
        raise ValueError("must be an IPv4 range such as 10.42.0.0/20") from None
    if not any(network.subnet_of(each) for each in INVISIBLE if isinstance(each, IPv4Network)):
        raise ValueError("must be a range of private addresses")
    if not 16 <= network.prefixlen <= 24:
        raise ValueError("must be between /16 and /24")
    return text


def _count_or_names(value: object) -> object:
    """Accept a number of zones, or their names."""
    zones = int(value) if isinstance(value, str) and value.isdecimal() else _split_at_commas(value)
    if isinstance(zones, (list, tuple)):
        if not all(re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", str(zone)) for zone in zones):
            raise ValueError("must be a number of zones, or names such as eu-central-1a,eu-central-1b")
        if len(set(zones)) < len(zones):
            raise ValueError("must name each zone once")
        zones = tuple(zones)
    if isinstance(zones, (int, tuple)) and not 2 <= (zones if isinstance(zones, int) else len(zones)) <= MOST_ZONES:
        raise ValueError(f"must be 2 to {MOST_ZONES} zones")
    return zones


def is_range(network: str) -> bool:
    """Tell whether a network is a CIDR range, not a VPC endpoint."""
    return not network.startswith("vpce-")


def _check_visible(text: str) -> str:
    """Refuse a network that S3 can't see, or that restricts nothing."""
    if re.fullmatch(r"vpce-([0-9a-f]{8}|[0-9a-f]{17})", text):
        return text
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError("must be a CIDR range or the id of a VPC endpoint (vpce-...)") from None
    if network.prefixlen == 0:
        raise ValueError("is everywhere: leave delivery_networks out")
    if any(network.version == each.version and network.subnet_of(each) for each in INVISIBLE):  # type: ignore[arg-type]
        raise ValueError("is private, and S3 sees public addresses only: name the VPC endpoint of that network")
    return text


Strings = Annotated[tuple[str, ...], BeforeValidator(_split_at_commas)]
Suffixes = Annotated[tuple[str, ...], BeforeValidator(_split_at_every_comma)]
"""Ends of names, the empty one for names without suffix."""
EmailAddresses = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...], BeforeValidator(_split_at_commas)
]
LogRetention = Annotated[RetentionDays, BeforeValidator(_days_as_retention)]
"""Days, or the name that CDK has for them."""
ProfileName = Annotated[str, AfterValidator(_check_profile)]
PrincipalArns = Annotated[
    tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:(role|user)/[A-Za-z0-9+=.@_/-]+$")], ...],
    BeforeValidator(_split_at_commas),
]
"""Roles and users; neither wildcards nor whole accounts."""
VisibleNetworks = Annotated[
    tuple[Annotated[str, AfterValidator(_check_visible)], ...], BeforeValidator(_split_at_commas)
]
"""CIDR ranges and VPC endpoints that a bucket's policy can tell apart."""
VpcCidr = Annotated[str, AfterValidator(_check_vpc_cidr)]
AvailabilityZones = Annotated[int | tuple[str, ...], BeforeValidator(_count_or_names)]
"""How many, which CloudFormation chooses, or their names."""
PolicyName = Annotated[
    str, Field(pattern=r"^(arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+|[A-Za-z0-9+=,.@_-]{1,128})$")
]
"""Name or ARN of a managed policy."""
Tags = Annotated[Mapping[str, str], BeforeValidator(_split_into_pairs), AfterValidator(_check_tags)]
