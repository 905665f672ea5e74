"""The table of threats names tests that exist."""

from __future__ import annotations

import ast

import pytest

from tests.threats import TESTS, Threat, threats


def test_should_have_a_table_of_threats() -> None:
    assert len(threats()) >= 30
    assert len({threat.threat for threat in threats()}) == len(threats())


@pytest.mark.parametrize("threat", threats(), ids=lambda threat: threat.threat)
def test_should_name_a_test_for_each_threat(threat: Threat) -> None:
    path, _, name = threat.test.partition("::")
    module = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    assert threat.protection
