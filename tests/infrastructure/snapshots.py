"""Snapshots of templates: one stage whole, every other template as its differences from one that is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from runtime.contract.names import PROJECT
from tests.infrastructure.conftest import StageTemplate, joined

ASSET_HASH = re.compile(r"\b[0-9a-f]{64}\b")


class Differences(SingleFileSnapshotExtension):
    """Snapshot of what `differences` returns."""

    _write_mode = WriteMode.TEXT
    file_extension = "diff"


def readable(node: Any) -> Any:
    """Mask asset hashes, write references as Fn::Sub does, and show JSON in strings as the JSON it is."""
    if isinstance(node, list):
        return [readable(item) for item in node]
    if not isinstance(node, dict):
        return ASSET_HASH.sub("ASSET", node) if isinstance(node, str) else node
    try:
        text = joined(node)
    except TypeError:
        return {key: readable(value) for key, value in node.items()}
    return readable(json.loads(text)) if text.startswith('{"') else ASSET_HASH.sub("ASSET", text)


def differences(before: StageTemplate, after: StageTemplate) -> str:
    """Return how one template differs from another, entry by entry, but for the stage's name, account and region.

    What was added is shown whole; of what changed, the lines, each between its neighbours.
    """
    old, new = entries(before), entries(after)
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            lines.append(f"removed: {name}")
        elif name not in old:
            lines += [f"added: {name}", *(f"+{line}" for line in new[name])]
        elif old[name] != new[name]:
            lines += [f"changed: {name}", *hunks(old[name], new[name])]
    return "".join(f"{line}\n" for line in lines)


def hunks(old: list[str], new: list[str]) -> Iterator[str]:
    """Yield the changed lines, without line numbers, which would change with every other change."""
    _, _, *lines = unified_diff(old, new, lineterm="", n=1)
    yield from ("@@" if line.startswith("@@") else line for line in lines)


def entries(stage: StageTemplate) -> Mapping[str, list[str]]:
    """Lines of what a template declares: resources, outputs, parameters, conditions and mappings."""
    sections = {name: body for name, body in neutral(stage).items() if isinstance(body, dict)}
    return {f"{section}.{name}": text(body) for section, bodies in sections.items() for name, body in bodies.items()}


def text(entry: Any) -> list[str]:
    """Lines of an entry, without commas at their end, which would change with the line that follows."""
    return [line.removesuffix(",") for line in json.dumps(entry, indent=1, sort_keys=True).splitlines()]


def neutral(stage: StageTemplate) -> dict[str, Any]:
    """Write a stage's name, account and region as those of any stage, and without the hashes that CDK makes of them."""
    config = stage.config
    shown = json.dumps(readable(stage.json))
    shown = re.sub(rf"({PROJECT}[-/]|\bstage |\"){config.stage}\b", r"\1${Stage}", shown)
    shown = re.sub(rf"({PROJECT.replace('-', '')}){config.stage}(\w+?)[0-9A-F]{{8,16}}\b", r"\1${Stage}\2", shown)
    for value, pseudo in ((config.account, "AccountId"), (config.region, "Region")):
        shown = shown.replace(value, f"${{AWS::{pseudo}}}") if value else shown
    found: dict[str, Any] = json.loads(shown.replace("arn:aws:", "arn:${AWS::Partition}:"))
    assert len(found["Resources"]) == len(stage.json["Resources"])
    return found
