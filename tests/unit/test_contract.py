import importlib
import json
import pkgutil
import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from runtime import contract
from runtime.contract.audit import AuditRecord
from runtime.contract.events import Announcement, InstanceDelivered, InstanceQuarantined, ManifestEntry, StudyDelivered
from runtime.contract.models import Frozen, Published
from runtime.contract.objects import Finding, ObjectCoordinates, Severity
from runtime.contract.steps import RejectionBody, StepResponse, ValidationBody

COORDINATES = ObjectCoordinates(bucket="raw", key="DOE^JANE/scan 1.dcm", version_id="v1", size=1024, etag="abc")


def finding(code: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(code=code, severity=severity, message="The file ends early: send it again.")


def rejection(findings: list[Finding]) -> RejectionBody:
    body = StepResponse.rejected(COORDINATES, findings).body
    assert isinstance(body, RejectionBody)
    return body


def test_should_name_an_object_the_same_way_for_ever() -> None:
    """The ids are in logs that outlive a release, so the value itself is pinned."""
    assert COORDINATES.object_id == "f5db33a9be7b12891088a771925fdd6e"


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "raw2"},
        {"key": "DOE^JANE/scan 2.dcm"},
        {"version_id": "v2"},
        {"bucket": "rawDOE^JANE", "key": "/scan 1.dcm"},
        {"key": "DOE^JANE/scan 1.dcmv", "version_id": "1"},
    ],
)
def test_should_name_different_objects_differently(change: dict[str, str]) -> None:
    assert COORDINATES.model_copy(update=change).object_id != COORDINATES.object_id


def test_should_name_an_object_without_telling_its_key_whatever_its_letters() -> None:
    for key in ("DOE^JANE", "Ünïcode 像/+%.dcm", "k" * 1024):
        object_id = COORDINATES.model_copy(update={"key": key}).object_id
        assert len(object_id) == 32
        assert set(object_id) <= set("0123456789abcdef")


def test_should_answer_200_with_the_steps_body() -> None:
    body = ValidationBody(warning_count=1, warning_codes=["UID_INVALID"], bytes_read=4096)
    assert StepResponse.accepted(body).model_dump(mode="json") == {
        "statusCode": 200,
        "body": {"warning_count": 1, "warning_codes": ["UID_INVALID"], "bytes_read": 4096},
    }


def test_should_answer_422_with_every_finding() -> None:
    findings = [finding("TRUNCATED"), finding("UID_INVALID", Severity.WARNING)]
    answer = json.loads(StepResponse.rejected(COORDINATES, findings).model_dump_json())

    assert answer["statusCode"] == 422
    assert answer["body"]["object"] == COORDINATES.model_dump()
    assert answer["body"]["object_id"] == COORDINATES.object_id
    assert answer["body"]["reason_codes"] == "TRUNCATED"
    assert [each["code"] for each in answer["body"]["findings"]] == ["TRUNCATED", "UID_INVALID"]


def test_should_read_its_own_answer_back() -> None:
    answer = StepResponse.rejected(COORDINATES, [finding("TRUNCATED")])
    assert StepResponse.model_validate_json(answer.model_dump_json()) == answer


def test_should_name_each_reason_once_in_the_order_found() -> None:
    codes = rejection([finding(code) for code in ("B", "A", "B", "C", "A")]).reason_codes
    assert codes == "B A C"


@pytest.mark.parametrize("width", [1, 7, 15, 31, 63, 64])
def test_should_keep_whole_reason_codes_within_an_s3_tag(width: int) -> None:
    codes = [f"{'C' * max(0, width - 3)}{chr(65 + n // 26 % 26)}{chr(65 + n % 26)}X"[-width:] for n in range(300)]
    codes = list(dict.fromkeys(codes))
    kept = rejection([finding(code) for code in codes]).reason_codes

    assert len(kept) <= 256
    assert kept.split(" ") == codes[: len(kept.split(" "))]
    assert len(kept.split(" ")) == min(len(codes), 257 // (width + 1))


def test_should_fill_an_s3_tag_to_its_last_character() -> None:
    exact = ["A" * 64, "B" * 64, "C" * 64, "D" * 61]
    assert rejection([finding(code) for code in exact]).reason_codes == " ".join(exact)
    assert rejection([finding(code) for code in [*exact, "E"]]).reason_codes == " ".join(exact)
    assert rejection([finding(code) for code in [*exact[:3], "D" * 62]]).reason_codes == " ".join(exact[:3])


@pytest.mark.parametrize("code", ["", "lower", "WITH SPACE", "1ST", "A" * 65, "JANE^DOE", "A\n"])
def test_should_refuse_a_code_that_is_no_name(code: str) -> None:
    with pytest.raises(ValidationError):
        finding(code)


PUBLISHED = {
    Published,
    Announcement,
    InstanceDelivered,
    InstanceQuarantined,
    StudyDelivered,
    ManifestEntry,
    AuditRecord,
}
MODULES = [
    importlib.import_module(f"runtime.contract.{module.name}") for module in pkgutil.iter_modules(contract.__path__)
]
FROZEN = [
    each
    for module in MODULES
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Frozen) and each.__module__ == module.__name__
]


@pytest.mark.parametrize("model", FROZEN)
def test_should_keep_models_frozen_and_closed(model: type[BaseModel]) -> None:
    instance = model.model_construct()
    name = next(iter(model.model_fields), "name")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(instance, name, None)
    # What others read, and later code, may gain fields.
    assert model.model_config["extra"] == ("ignore" if model in PUBLISHED else "forbid")


def test_should_refuse_fields_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="patient_name"):
        ObjectCoordinates.model_validate({**COORDINATES.model_dump(), "patient_name": "DOE^JANE"})


def test_should_refuse_negative_sizes_and_offsets() -> None:
    with pytest.raises(ValidationError, match="size"):
        ObjectCoordinates.model_validate({**COORDINATES.model_dump(), "size": -1})
    with pytest.raises(ValidationError, match="offset"):
        Finding.model_validate({**finding("TRUNCATED").model_dump(), "offset": -1})


def test_should_import_pydantic_and_nothing_else() -> None:
    """The infrastructure imports the contract, so it must not need what only Lambda has."""
    heavy = {"pydicom", "boto3", "aws_cdk", "aws_lambda_powertools"}
    code = f"import sys, runtime.contract; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
