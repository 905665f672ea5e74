"""The emulator, enforcing policies and recording what it decided. Runs in the emulator's own environment.

It judges requests by less than AWS does, and would refuse what AWS allows, or allow what AWS refuses. Added here are:

- TLS. What talks to the emulator does so without, on the loopback interface; policies demand it.
- The condition keys `cloudwatch:namespace` and `dynamodb:LeadingKeys`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator

DECISIONS = Path("decisions.jsonl")
"""In the working directory: a line for each right that a role needed."""

_pin_request_origin = iam_evaluator.pin_request_origin
_enforce = iam_evaluator.enforce
_request_tag_context = iam_actions.request_tag_context


def pin_request_origin(source_ip: str, secure_transport: bool) -> None:  # noqa: ARG001
    """Remember the caller's address, and that it used TLS."""
    _pin_request_origin(source_ip, True)


def request_context(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what conditions may ask of a request: its tags, as the emulator does, and what that leaves out."""
    context: dict[str, Any] = _request_tag_context(service, action, body, parameters)
    if action == "cloudwatch:PutMetricData":
        context["cloudwatch:namespace"] = json.loads(body)["Namespace"]
    elif action in {"dynamodb:GetItem", "dynamodb:UpdateItem"}:
        (partition_key,) = json.loads(body)["Key"].values()
        context["dynamodb:LeadingKeys"] = list(partition_key.values())
    return context


def enforce(
    access_key_id: str, iam_action: str, service: str, region: str, resource_arn: str = "*", **more: object
) -> object:
    """Decide, and record the decision if the caller is a role; None allows."""
    denial: object = _enforce(access_key_id, iam_action, service, region, resource_arn=resource_arn, **more)
    caller = (iam_evaluator.resolve_caller_identity(access_key_id) or {}).get("userArn", "")
    if ":assumed-role/" in caller:
        decision = {"role": caller.split("/")[1], "action": iam_action, "resource": resource_arn}
        with DECISIONS.open("a") as file:
            file.write(json.dumps(decision | {"allowed": denial is None}) + "\n")
    return denial


if __name__ == "__main__":
    iam_evaluator.pin_request_origin = pin_request_origin
    iam_evaluator.enforce = enforce
    iam_actions.request_tag_context = request_context
    from ministack.app import main

    main()
