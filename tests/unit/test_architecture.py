"""Architecture: which package may import which, no circles, and folders of a size that can be surveyed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("acceptance", "cli", "imaging_pipeline", "local", "runtime")
MOST_MODULES: Final = 12
ONE_OF_A_KIND: Final = ("cli/commands", "runtime/handlers")
"""Folders with one module a command and one a function, where the list of files is the table of contents."""
AWS: Final = ("boto3", "botocore", "aws_lambda_powertools", "runtime.aws", "runtime.ledger")

NEVER: Final[Mapping[str, tuple[str, ...]]] = {
    "runtime": ("acceptance", "aws_cdk", "cli", "imaging_pipeline", "local"),
    "runtime.dicom": (*AWS, "runtime.deidentification"),
    "runtime.deidentification": AWS,
    "cli": ("acceptance", "aws_cdk", "imaging_pipeline", "local"),
    "imaging_pipeline": ("acceptance", "cli", "local"),
    "local": ("acceptance", "imaging_pipeline"),
}
"""What a package imports nothing of, and why it matters: Lambda's code stays small, the domain knows no AWS, and the
command works without CDK."""

NOBODYS: Final = ("tests", "runtime.handlers")
"""What nobody imports but itself: handlers are entry points."""


def is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@cache
def modules() -> Mapping[str, Path]:
    """Paths of all modules, by name."""
    paths = (path.relative_to(REPOSITORY) for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py"))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(source: str, ours: Set[str]) -> set[str]:
    """Modules that a source imports anywhere: for types and within functions, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports say the whole name"
            assert node.level == 0, "imports say the whole name"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in ours else node.module for name in inner}
    return found


@cache
def imports() -> Mapping[str, Set[str]]:
    """What each module imports."""
    ours = modules().keys()
    return {name: imported((REPOSITORY / path).read_text(encoding="utf-8"), ours) for name, path in modules().items()}


def package_of(module: str) -> str:
    """Return the package of a module; what lies on top, and what a package itself says, stand alone."""
    is_package = modules()[module].name == "__init__.py"
    return module if is_package or module.count(".") < 2 else f"{module.rpartition('.')[0]}.*"


def circle(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return one circle of a graph, from end to end; nothing if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def of_package(package: str) -> Iterator[tuple[str, str]]:
    """Yield what modules of a package import, with the importing module."""
    for module, names in imports().items():
        if is_of(module, package):
            yield from ((module, name) for name in names)


def test_should_have_no_circle_among_modules() -> None:
    assert circle({module: names & modules().keys() for module, names in imports().items()}) == []


def test_should_have_no_circle_among_packages() -> None:
    """But for a package and its own sub-packages, which are one room."""
    graph: dict[str, set[str]] = {}
    for module, names in imports().items():
        room = package_of(module)
        others = {package_of(name) for name in names & modules().keys()}
        graph.setdefault(room, set()).update(other for other in others if not are_one_room(room, other))
    assert circle(graph) == []


def are_one_room(one: str, other: str) -> bool:
    here, there = one.removesuffix(".*"), other.removesuffix(".*")
    return is_of(here, there) or is_of(there, here)


@pytest.mark.parametrize("package", NEVER)
def test_should_import_nothing_of_what_a_package_must_not_know(package: str) -> None:
    forbidden = NEVER[package]
    assert [each for each in of_package(package) if any(is_of(each[1], other) for other in forbidden)] == []


@pytest.mark.parametrize("owner", NOBODYS)
def test_should_leave_entry_points_and_tests_to_themselves(owner: str) -> None:
    found = [(module, name) for package in PACKAGES for module, name in of_package(package) if is_of(name, owner)]
    assert [(module, name) for module, name in found if not is_of(module, owner)] == []


def test_should_let_the_infrastructure_import_of_the_runtime_its_contract_alone() -> None:
    runtime = [each for each in of_package("imaging_pipeline") if is_of(each[1], "runtime")]
    assert runtime
    assert [each for each in runtime if not is_of(each[1], "runtime.contract")] == []


def test_should_build_the_contract_on_pydantic_and_the_standard_library_alone() -> None:
    others = [each for each in of_package("runtime.contract") if not is_of(each[1], "runtime.contract")]
    assert {name.partition(".")[0] for _, name in others} - sys.stdlib_module_names == {"pydantic"}


def test_should_have_no_folder_with_more_modules_than_one_can_survey() -> None:
    folders: dict[str, int] = {}
    for path in modules().values():
        if path.name not in {"__init__.py", "__main__.py"}:
            folders[str(path.parent)] = folders.get(str(path.parent), 0) + 1
    crowded = {folder: count for folder, count in folders.items() if count > MOST_MODULES}
    assert {folder: count for folder, count in crowded.items() if folder not in ONE_OF_A_KIND} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import runtime.aws.audit",
        "from runtime.aws import audit",
        "from runtime.aws.audit import record",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from runtime.aws.audit import record",
        "def late():\n    import runtime.aws.audit as a",
    ],
)
def test_should_see_an_import_however_it_is_written(source: str) -> None:
    assert "runtime.aws.audit" in imported(source, {"runtime.aws", "runtime.aws.audit"})


def test_should_see_a_circle_however_long() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) != []
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
