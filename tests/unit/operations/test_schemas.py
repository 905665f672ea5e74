from pathlib import Path

import pytest

from cli.__main__ import main
from cli.commands.schemas import MODELS, schemas
from runtime.contract.events import ANNOUNCEMENTS, EventType

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


def test_should_publish_the_schema_of_every_event_as_its_model_is() -> None:
    """A change that breaks this test breaks consumers, unless it only adds an optional field: make a new version."""
    published = {path.name: path.read_text("utf-8") for path in PUBLISHED.iterdir()}
    assert published == schemas()


def test_should_have_a_model_for_each_type_of_event() -> None:
    assert set(ANNOUNCEMENTS) == set(EventType)


def test_should_write_the_schemas(tmp_path: Path) -> None:
    assert main(["schemas", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {f"{name}.v1.json" for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_should_let_consumers_ignore_fields_that_come_later(name: str) -> None:
    assert "additionalProperties" not in MODELS[name].model_json_schema()
