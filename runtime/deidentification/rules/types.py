"""Attribute types (DICOM PS3.3) of exactly the attributes to which PS3.15 Table E.1-1 gives a choice of actions.

Conditional types count as their unconditional ones: an attribute that is present met its condition.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Literal, cast

from runtime.deidentification.rules.table import Action

AttributeType = Literal["1", "1C", "2", "2C", "3"]

_TOP_LEVEL_FILE: Final = Path(__file__).with_name("attribute_types.tsv")
_NESTED_FILE: Final = Path(__file__).with_name("attribute_types_nested.tsv")
_LONGEST_PATH: Final = 4


def attribute_type(sop_class_uid: str, path: tuple[int, ...]) -> AttributeType | None:
    """Return the strictest type that the IOD's modules give an attribute.

    Parameters
    ----------
    sop_class_uid
        SOP Class UID (0008,0016) of the object.
    path
        Tags of the sequences that lead to the attribute, outermost first, then the attribute's tag. Within sequences
        the innermost ones decide, whatever the IOD, as macros are shared: a path is found by its longest known end.

    Returns
    -------
    "1", "1C", "2", "2C", "3" or None
        "3" for an attribute at top level that the IOD doesn't define, as a Standard Extended SOP Class may add it
        (DICOM PS3.2 3.11.3). ``None`` if the SOP class or the path is unknown.
    """
    if len(path) == 1:
        types = _top_level().get(sop_class_uid)
        return None if types is None else types.get(path[0], "3")
    nested = _nested()
    for length in range(min(len(path), _LONGEST_PATH), 1, -1):
        found = nested.get(path[-length:])
        if found is not None:
            return found
    return None


def resolve(action: Action, type_: AttributeType | None) -> Action:
    """Choose among the actions of a compound code what keeps a valid object valid (DICOM PS3.15 Table E.1-1a).

    Parameters
    ----------
    action
        Any action; a simple one is returned as it is.
    type_
        From `attribute_type`. An unknown type is taken for the strictest one that the code provides for, so that the
        result is valid whatever the type is.

    Returns
    -------
    Action
        A simple action. Where the code provides nothing for the type (``X/Z`` of Type 1) the answer is DUMMY, which
        is valid for every type. MAP_UID and DUMMY of a sequence keep its items, whose attributes have their own rules.
    """
    if not action.is_compound:
        return action
    when_required, when_empty_allowed, when_optional, when_unknown = _RESOLUTIONS[action]
    if type_ is None:
        return when_unknown
    return {"1": when_required, "2": when_empty_allowed, "3": when_optional}[type_[0]]


_RESOLUTIONS: Final = {
    Action.EMPTY_OR_DUMMY: (Action.DUMMY, Action.EMPTY, Action.EMPTY, Action.DUMMY),
    Action.REMOVE_OR_EMPTY: (Action.DUMMY, Action.EMPTY, Action.REMOVE, Action.EMPTY),
    Action.REMOVE_OR_DUMMY: (Action.DUMMY, Action.DUMMY, Action.REMOVE, Action.DUMMY),
    Action.REMOVE_OR_EMPTY_OR_DUMMY: (Action.DUMMY, Action.EMPTY, Action.REMOVE, Action.DUMMY),
    Action.REMOVE_OR_EMPTY_OR_MAP_UID: (Action.MAP_UID, Action.MAP_UID, Action.REMOVE, Action.MAP_UID),
}


@cache
def _top_level() -> dict[str, dict[int, AttributeType]]:
    header, *lines = _TOP_LEVEL_FILE.read_text(encoding="ascii").splitlines()
    tags = [_tag(column.partition(" ")[0]) for column in header.split("\t")[2:]]
    rows = [line.split("\t") for line in lines]
    return {
        row[0]: {tag: cast("AttributeType", type_) for tag, type_ in zip(tags, row[2:], strict=True) if type_}
        for row in rows
    }


@cache
def _nested() -> dict[tuple[int, ...], AttributeType]:
    rows = [line.split("\t") for line in _NESTED_FILE.read_text(encoding="ascii").splitlines()[1:]]
    return {tuple(map(_tag, path.split(" "))): cast("AttributeType", type_) for path, type_, _ in rows}


def _tag(text: str) -> int:
    return int(text.replace(",", ""), 16)
