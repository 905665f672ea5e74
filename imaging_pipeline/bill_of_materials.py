"""Bills of materials, as CycloneDX: of the Lambda layer, and of what synthesizes and deploys. `make synth` runs this.

They are made from the locks alone, so the same commit gives the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from imaging_pipeline.building_blocks.dependency_layer import LOCK_FILE, REPOSITORY
from imaging_pipeline.operations.review.assembly import ASSEMBLY
from local.cdk import CDK_CLI

LAYER: Final = "sbom-layer.cdx.json"
TOOLS: Final = "sbom-tools.cdx.json"
LOCKS: Final[Mapping[str, Path]] = {LAYER: LOCK_FILE, TOOLS: REPOSITORY / "requirements.txt"}


def bill_of_materials(lock: Path) -> dict[str, Any]:
    """Return the bill of what a lock pins: each package with its version and the hashes that pip accepts."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock)]
    command += ["--pyproject", str(REPOSITORY / "pyproject.toml"), "--output-reproducible", "--no-validate"]
    written = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - all arguments are ours
    bill: dict[str, Any] = json.loads(written.stdout)
    return bill


def _with_cdk_cli(bill: Mapping[str, Any]) -> dict[str, Any]:
    """Add the one tool that doesn't come by pip. npm has no lock for what npx runs, hence no hash."""
    name, version = CDK_CLI.split("@")
    cli = {"type": "application", "name": name, "version": version, "purl": f"pkg:npm/{name}@{version}"}
    components = [*bill["components"], {**cli, "bom-ref": cli["purl"]}]
    return {**bill, "components": components, "dependencies": [*bill["dependencies"], {"ref": cli["purl"]}]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the bills beside the templates."""
    parser = argparse.ArgumentParser(prog="python -m imaging_pipeline.bill_of_materials", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ASSEMBLY, metavar="FOLDER", help="of the assembly")
    # Whatever else the CDK command line was given is its own.
    options, _ = parser.parse_known_args(arguments)
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for name, lock in LOCKS.items():
        bill = bill_of_materials(lock)
        text = json.dumps(_with_cdk_cli(bill) if name == TOOLS else bill, indent=2) + "\n"
        if error := validator.validate_str(text):
            sys.exit(f"{name} is not valid CycloneDX: {error}")
        (options.output / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
