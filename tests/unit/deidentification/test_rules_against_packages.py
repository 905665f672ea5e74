"""The rule data against independent readings of the standard, where these packages are installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from runtime.deidentification.rules.options import BASIC_PROFILE_CODE, Option
from runtime.deidentification.rules.table import Action, rule_for, rules
from runtime.deidentification.rules.types import attribute_type

STRICTEST_FIRST = ("1", "1C", "2", "2C", "3")
NEWER_THAN_IDISCORE = {
    "0018,1010", "0018,1011", "003A,0020", "003A,0203", "003A,020C", "0040,0556", "0040,B020", "0040,E012", "0070,0006",
    "3004,007F",
}  # fmt: skip


def test_should_have_the_basic_profile_of_dicom_anonymizer() -> None:
    theirs = pytest.importorskip(
        "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c",
        reason="pip install dicom-anonymizer==2.1.0 to compare the Basic Profile with it",
    )
    lists = {
        "D_TAGS": "D", "Z_TAGS": "Z", "X_TAGS": "X", "U_TAGS": "U", "Z_D_TAGS": "Z/D", "X_Z_TAGS": "X/Z",
        "X_D_TAGS": "X/D", "X_Z_D_TAGS": "X/Z/D", "X_Z_U_STAR_TAGS": "X/Z/U*",
    }  # fmt: skip
    their_actions = {(tag[0] << 16) + tag[1]: action for name, action in lists.items() for tag in getattr(theirs, name)}
    ours = {rule.tag: rule.basic.value for rule in rules() if rule.tag is not None}
    ours.update({0x50000000: "X", 0x60003000: "X", 0x60004000: "X"})
    assert their_actions | {0x3004007F: "X"} == ours  # since 2026d


def test_should_have_the_options_of_idiscore() -> None:
    theirs = pytest.importorskip(
        "idiscore._public_dicom", reason="pip install idiscore==1.6.0 (Python 3.12) to compare the options with it"
    )
    columns = {option.code.value: option for option in Option}
    compared = set()
    for rule_set in (value for value in vars(theirs).values() if isinstance(value, theirs.RawNemaRuleSet)):
        option = columns.get(rule_set.code)
        if option is None and rule_set.code != BASIC_PROFILE_CODE.value:
            continue
        expected = {_pattern(identifier): action.key for identifier, action in rule_set.rules}
        ours = {
            rule.pattern: str(action)
            for rule in rules()
            if (action := rule.basic if option is None else rule.options.get(option))
            and rule.pattern not in NEWER_THAN_IDISCORE
        }
        if option is Option.CLEAN_DESCRIPTORS:
            expected["0032,1033"] = "C"  # since the 2026 editions
        assert ours == expected
        compared.add(rule_set.code)
    assert compared == {*columns, BASIC_PROFILE_CODE.value}


def test_should_have_the_attribute_types_of_highdicom() -> None:
    package = importlib.util.find_spec("highdicom")
    if package is None or package.origin is None:
        pytest.skip("pip install highdicom==0.28.2 to compare attribute types with it")
    folder = Path(package.origin).parent / "_standard"
    iod_of, modules_of, attributes_of = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("sop_class_iod_map.json", "iod_module_map.json", "module_attribute_map.json")
    )
    compared = 0
    for sop_class_uid, iod in iod_of.items():
        expected = _strictest_types([a for m in modules_of[iod] for a in attributes_of.get(m["key"], ())])
        for path, type_ in expected.items():
            found = attribute_type(sop_class_uid, path)
            # One path has a type of its own in the RT ion plan; the stricter one of the other IODs is kept for all.
            if 0x300A0206 not in path:
                assert (sop_class_uid, path, found) == (sop_class_uid, path, type_)
            compared += 1
    assert compared > 9000


def _strictest_types(attributes: list[dict[str, Any]]) -> dict[tuple[int, ...], str]:
    compound = {rule.keyword for rule in rules() if rule.basic.is_compound}
    types: dict[tuple[int, ...], str] = {}
    for attribute in attributes:
        if attribute["keyword"] in compound:
            path = tuple(_tag(keyword) for keyword in (*attribute["path"], attribute["keyword"]))
            types[path] = min(types.get(path, "3"), attribute["type"], key=STRICTEST_FIRST.index)
    return types


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return tag


def _pattern(identifier: Any) -> str:
    if type(identifier).__name__ == "PrivateTags":
        return "gggg,eeee"
    if type(identifier).__name__ == "RepeatingGroup":
        digits = str(identifier.tag.tag)
        return f"{digits[:4]},{digits[4:].upper().replace('X', 'x')}"
    rule = rule_for(int(identifier.tag))
    assert rule is not None, keyword_for_tag(int(identifier.tag))
    assert rule.basic in Action
    return rule.pattern
