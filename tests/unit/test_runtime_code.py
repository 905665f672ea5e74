"""The functions' code has no module that no function runs, so its version changes only with code that runs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import runtime
from runtime.contract.names import Function

FOLDER = Path(str(runtime.__file__)).parent
MODULES = {
    ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FOLDER.rglob("*.py")
}


def imported(module: str) -> Iterator[str]:
    """Yield the modules of `runtime` that one imports, packages on the way included."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(source), names=names):
                found = [source, *(f"{source}.{alias.name}" for alias in names)]
            case _:
                continue
        for name in found:
            parts = name.split(".")
            yield from (prefix for end in range(1, len(parts) + 1) if (prefix := ".".join(parts[:end])) in MODULES)


def test_should_ship_no_module_that_no_handler_imports() -> None:
    reached: set[str] = set()
    following = {module for module in MODULES if module.startswith("runtime.handlers")}
    while following:
        reached |= following
        following = {name for module in following for name in imported(module)} - reached
    assert sorted(MODULES.keys() - reached) == []


def test_should_ship_no_handler_without_a_function() -> None:
    handlers = {path.stem for path in (FOLDER / "handlers").glob("*.py")} - {"__init__"}
    assert handlers == set(Function)
