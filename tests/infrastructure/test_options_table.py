"""The options' table in the documentation says what the settings' model says."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import takewhile
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from imaging_pipeline.stages.config import DEFAULTS, AlarmThresholds, FunctionSettings, StageConfig
from imaging_pipeline.stages.definitions import STAGES
from tests.infrastructure.conftest import REPOSITORY

TABLE = REPOSITORY / "docs" / "options.md"
HEADINGS = ["setting", "default", "meaning", "what it adds", "refused when"]


def rows() -> list[list[str]]:
    """Cells of the only table with these headings."""
    lines = TABLE.read_text().splitlines()
    start = lines.index(f"| {' | '.join(HEADINGS)} |") + 2
    table = takewhile(lambda line: line.startswith("|"), lines[start:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def text(value: Any) -> str:
    """A value as the table shows it."""
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(part or '""' for part in value)
    return str(value.name if isinstance(value, Enum) else value)


def defaults(name: str, field: FieldInfo) -> str:
    """The default, then that of each stage with another one."""
    base = "required" if field.is_required() else text(field.default)
    given = {stage: settings()[name] for stage, settings in STAGES.items() if name in settings()}
    return "; ".join([base, *(f"{stage} {text(value)}" for stage, value in given.items())])


def settings() -> Iterator[tuple[str, str]]:
    """Every setting with its default; those of the functions and thresholds one by one."""
    for name, field in StageConfig.model_fields.items():
        if name == "functions":
            for part, nested in FunctionSettings.model_fields.items():
                others = [f"{function} {given[part]}" for function, given in DEFAULTS.items() if part in given]
                yield f"functions.<name>.{part}", "; ".join([text(nested.default), *others])
        elif name == "alarms":
            for part, nested in AlarmThresholds.model_fields.items():
                yield f"alarms.{part}", text(nested.default)
        else:
            yield name, defaults(name, field)


def test_should_document_every_setting_and_no_other() -> None:
    assert [row[0] for row in rows()] == [f"`{name}`" for name, _ in settings()]


@pytest.mark.parametrize(("name", "default"), list(settings()))
def test_should_document_the_default(name: str, default: str) -> None:
    (row,) = [row for row in rows() if row[0] == f"`{name}`"]
    assert row[1] == default


def test_should_say_of_every_setting_what_it_means_adds_and_refuses() -> None:
    for row in rows():
        assert len(row) == len(HEADINGS), row[0]
        assert all(row), f"{row[0]} has an empty cell"
