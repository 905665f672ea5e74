"""The emulator, enforcing policies and sharing layers. Runs in the emulator's own environment.

It judges requests by less than AWS does, and would refuse what AWS allows, or allow what AWS refuses. Added here are:

- TLS. What talks to the emulator does so without, on the loopback interface; policies demand it.
- The condition keys `cloudwatch:namespace` and `dynamodb:LeadingKeys`.
- PartiQL: the right to a statement is that of its verb, on the table that it names.

It unpacks a function's layers for each process that runs it. Here a layer is unpacked once, for all of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any

from ministack.core import iam_actions, iam_evaluator, lambda_runtime

DECISIONS = Path("decisions.jsonl")
"""In the working directory: a line for each right that a role needed."""
LAYERS = Path("layers").resolve()
"""Below the working directory: a folder for each layer, named by the hash of its content."""

_pin_request_origin = iam_evaluator.pin_request_origin
_enforce = iam_evaluator.enforce
_request_tag_context = iam_actions.request_tag_context
_extract_iam_action = iam_actions.extract_iam_action
_dynamodb_resource_arns = iam_actions.dynamodb_resource_arns
_spawn = lambda_runtime.Worker._spawn

_unpacking = threading.Lock()
_PARTIQL = re.compile(r'(INSERT) INTO "([^"]+)"|(UPDATE) "([^"]+)"|(DELETE) FROM "([^"]+)"|(SELECT) .* FROM "([^"]+)"')


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


def extract_iam_action(
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> str | None:
    """Return the right that a request needs."""
    action: str | None = _extract_iam_action(service, method, path, headers, body, query)
    if action != "dynamodb:ExecuteStatement":
        return action
    verb, _ = _statement(body)
    return f"dynamodb:PartiQL{verb.capitalize()}"


def dynamodb_resource_arns(body: bytes, region: str, account_id: str) -> list[str]:
    """Return the tables that a request names."""
    if "Statement" in json.loads(body or b"{}"):
        body = json.dumps({"TableName": _statement(body)[1]}).encode()
    arns: list[str] = _dynamodb_resource_arns(body, region, account_id)
    return arns


def _statement(body: bytes) -> tuple[str, str]:
    """Return verb and table of a PartiQL statement."""
    found = _PARTIQL.match(json.loads(body)["Statement"])
    verb, table = [part for part in found.groups() if part] if found else ("unknown", "unknown")
    return verb, table


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


def spawn(worker: lambda_runtime.Worker) -> None:
    """Start a process of a function. One of Python is told where its layers are instead of unpacking them."""
    config = worker.config
    if config.get("Layers") and config["Runtime"].startswith("python"):
        from ministack.services.lambda_svc import _resolve_layer_zip  # noqa: PLC0415 - not before the patches below

        layers = [layer for attachment in config["Layers"] if (layer := _resolve_layer_zip(attachment))]
        folders = os.pathsep.join(str(unpacked(layer)) for layer in layers)
        variables = config.get("Environment", {}).get("Variables", {}) | {"_LAMBDA_LAYERS_DIRS": folders}
        worker.config = config | {"Layers": [], "Environment": {"Variables": variables}}
    try:
        _spawn(worker)
    finally:
        worker.config = config


def unpacked(layer: bytes) -> Path:
    """Return the folder of a layer's content, given as a zip archive."""
    folder = LAYERS / hashlib.sha256(layer).hexdigest()
    with _unpacking:
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)  # of an attempt that ran out of space
            with zipfile.ZipFile(io.BytesIO(layer)) as archive:
                archive.extractall(partial)
            partial.rename(folder)
    return folder


if __name__ == "__main__":
    iam_evaluator.pin_request_origin = pin_request_origin
    iam_evaluator.enforce = enforce
    iam_actions.request_tag_context = request_context
    iam_actions.extract_iam_action = extract_iam_action
    iam_actions.dynamodb_resource_arns = dynamodb_resource_arns
    lambda_runtime.Worker._spawn = spawn
    from ministack.app import main

    main()
