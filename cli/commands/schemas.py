"""`imaging-pipeline schemas`: the JSON schemas of what consumers and auditors get, as docs/schemas has them."""

import argparse
import json
import sys
from pathlib import Path

from runtime.contract.audit import AuditRecord
from runtime.contract.events import ANNOUNCEMENTS, ManifestEntry
from runtime.contract.models import Published

MODELS: dict[str, type[Published]] = {
    **{event_type.value: model for event_type, model in ANNOUNCEMENTS.items()},
    "ManifestEntry": ManifestEntry,
    "AuditRecord": AuditRecord,
}
"""Each published schema's name, and the model it is of."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where they are written, a file each")


def run(arguments: argparse.Namespace) -> int:
    """Write a file for each schema."""
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for name, text in schemas().items():
            (arguments.folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"schemas: {error.filename}: {error.strerror}\n")
        return 2
    return 0


def schemas() -> dict[str, str]:
    """Return the schemas' texts by file name, ``<name>.v<version>.json``."""
    documents = {}
    for name, model in MODELS.items():
        version = model.model_fields["version"].default
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | model.model_json_schema(
            mode="serialization"
        )
        documents[f"{name}.v{version}.json"] = f"{json.dumps(schema, indent=2)}\n"
    return documents
