"""De-identification profiles: reviewed files that say what leaves the hospital.

A profile is the Basic Profile of DICOM PS3.15 E.2, the options of E.3 that it switches on, overrides of single
attributes with a written reason, and a policy for each risk that a header can't judge.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from runtime.contract.models import Frozen
from runtime.deidentification.rules.options import BASIC_PROFILE_CODE, MethodCode, Option
from runtime.deidentification.rules.table import Action
from runtime.dicom import tags

_PROFILES: Final = Path(__file__).parent / "profiles"
_NAME: Final = r"^[a-z0-9-]+$"
_TAG: Final = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


class ProfileError(ValueError):
    """A profile that doesn't exist or contradicts itself. The message says which and why; profiles hold no PHI."""


class Risk(StrEnum):
    """Risk of identifying a patient that a header can't settle."""

    BURNED_IN_ANNOTATION = "burned-in-annotation"
    SECONDARY_CAPTURE = "secondary-capture"
    ULTRASOUND = "ultrasound"
    VISIBLE_LIGHT = "visible-light"
    VIDEO = "video"
    SCANNED_DOCUMENT = "scanned-document"
    ENCAPSULATED_DOCUMENT = "encapsulated-document"
    AUDIO = "audio"
    OPAQUE_DATA = "opaque-data"
    SLIDE_LABEL = "slide-label"
    RECOGNIZABLE_FACE = "recognizable-face"

    @property
    def code(self) -> str:
        """The reason code of a quarantine for this risk, such as ``RISK_SECONDARY_CAPTURE``."""
        return f"RISK_{self.name}"


class Policy(StrEnum):
    """Policy for objects that bear a risk.

    Attested means that the source itself denies the risk: Recognizable Visual Features (0028,0302) NO for a
    recognizable face, Burned In Annotation (0028,0301) NO for every other.
    """

    QUARANTINE = "quarantine"
    RELEASE = "release"
    RELEASE_WHEN_ATTESTED = "release-when-attested"

    def releases(self, *, attested: bool) -> bool:
        """Tell whether an object that bears the risk may leave."""
        return self is Policy.RELEASE or (self is Policy.RELEASE_WHEN_ATTESTED and attested)


class DateShiftRange(Frozen):
    """Range in days by which a patient's dates move into the past, both ends included."""

    minimum_days: int = Field(ge=1, description="at least 1: a shift of zero publishes the true dates")
    maximum_days: int = Field(le=36500)

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.maximum_days - self.minimum_days < _SMALLEST_SPREAD:
            raise ValueError(
                f"maximum_days must exceed minimum_days by {_SMALLEST_SPREAD}, or the shift can be guessed"
            )
        return self


class Override(Frozen):
    """One attribute that the profile treats otherwise than the standard's table, at every depth.

    Attributes
    ----------
    attribute
        Keyword of DICOM PS3.6, or a tag as ``(0018,1030)`` or ``00181030``.
    action
        What is done instead; none of the compound codes.
    reason
        Why, in a sentence that a privacy officer can agree to.
    """

    attribute: str
    action: Action
    reason: str = Field(min_length=20)

    @property
    def tag(self) -> int:
        """The attribute's tag, group in the upper 16 bits."""
        match = _TAG.fullmatch(self.attribute)
        return int(match[1] + match[2], 16) if match else _tag_of_keyword(self.attribute)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        tag = self.tag
        if tag >> 16 & 1:
            raise ValueError(f"{self.attribute} is private: private attributes are kept by the safe-private list alone")
        if tag >> 16 in _ENGINE_GROUPS or tag in _ENGINE_TAGS:
            raise ValueError(f"{self.attribute} is written by the de-identification itself and can't be overridden")
        if self.action.is_compound:
            raise ValueError(f"{self.action} leaves it to the object's IOD what is done: an override says it plainly")
        if self.action is Action.KEEP and tag in _DIRECT_IDENTIFIERS:
            raise ValueError(f"{self.attribute} names the patient: an object that keeps it isn't de-identified")
        if self.action is Action.MAP_UID and "UI" not in _value_representation(tag):
            raise ValueError(f"{self.attribute} holds no UID that action U could map")
        return self


class Profile(Frozen):
    """A de-identification profile."""

    name: str = Field(pattern=_NAME)
    description: str = Field(min_length=1)
    options: frozenset[Option] = frozenset()
    overrides: tuple[Override, ...] = ()
    date_shift: DateShiftRange | None = None
    risks: Mapping[Risk, Policy]

    @field_validator("overrides")
    @classmethod
    def _one_override_an_attribute(cls, overrides: tuple[Override, ...]) -> tuple[Override, ...]:
        seen: set[int] = set()
        for override in overrides:
            if override.tag in seen:
                raise ValueError(f"{override.attribute} is overridden twice")
            seen.add(override.tag)
        return overrides

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for reason in self._contradictions():
            raise ValueError(reason)
        return self

    def _contradictions(self) -> Iterator[str]:
        full, modified = Option.RETAIN_LONGITUDINAL_FULL_DATES, Option.RETAIN_LONGITUDINAL_MODIFIED_DATES
        if {full, modified} <= self.options:
            yield f"{full} and {modified} exclude each other: a date is either true or moved"
        if modified in self.options and self.date_shift is None:
            yield f"{modified} needs [date_shift]: how far dates move"
        if modified not in self.options and self.date_shift is not None:
            yield f"[date_shift] has no effect without {modified}"
        missing = sorted(set(Risk) - set(self.risks))
        if missing:
            yield f"every risk needs a policy; missing: {', '.join(missing)}"
        if self.risks.get(Risk.BURNED_IN_ANNOTATION) is Policy.RELEASE_WHEN_ATTESTED:
            yield f"{Risk.BURNED_IN_ANNOTATION} means that the source declares it: nothing can attest the opposite"

    @property
    def method_codes(self) -> tuple[MethodCode, ...]:
        """Items of De-identification Method Code Sequence (0012,0064): the Basic Profile, then the options by code."""
        return (BASIC_PROFILE_CODE, *sorted(option.code for option in self.options))

    @property
    def longitudinal_temporal_information_modified(self) -> str:
        """Value of Longitudinal Temporal Information Modified (0028,0303), DICOM PS3.3 C.12.1."""
        if Option.RETAIN_LONGITUDINAL_FULL_DATES in self.options:
            return "UNMODIFIED"
        return "MODIFIED" if Option.RETAIN_LONGITUDINAL_MODIFIED_DATES in self.options else "REMOVED"

    def content_hash(self, rules_digest: str) -> str:
        """Return SHA-256 in hexadecimal over the profile and the rules it selects from.

        Parameters
        ----------
        rules_digest
            Digest of the rule tables: the same profile over another edition of the table releases something else.
        """
        content = self.model_dump(mode="json")
        content["options"] = sorted(content["options"])
        canonical = json.dumps([content, rules_digest], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that ship with the package, sorted."""
    return tuple(sorted(path.stem for path in _PROFILES.glob("*.toml")))


def load_profile(name: str) -> Profile:
    """Read and validate one of the profiles that ship with the package.

    Raises
    ------
    ProfileError
        If there is no such profile, or its file is no valid profile.
    """
    if name not in profile_names():
        raise ProfileError(f"there is no profile {name!r}; profiles: {', '.join(profile_names())}")
    profile = parse_profile((_PROFILES / f"{name}.toml").read_text("utf-8"))
    if profile.name != name:
        raise ProfileError(f"{name}.toml names itself {profile.name!r}")
    return profile


def parse_profile(text: str) -> Profile:
    """Build a profile from the text of a TOML file.

    Raises
    ------
    ProfileError
        If the text isn't TOML or the profile isn't valid; the message names each field and what is wrong with it.
    """
    try:
        content: dict[str, Any] = tomllib.loads(text)
        return Profile.model_validate(content)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"not a TOML file: {error}") from None
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc'])) or 'profile'}: {e['msg']}" for e in error.errors())
        raise ProfileError("; ".join(problems)) from None


_SMALLEST_SPREAD: Final = 29
_ENGINE_GROUPS: Final = frozenset({0x0000, 0x0002, 0x7FE0, 0xFFFC, 0xFFFE})
_ENGINE_TAGS: Final = frozenset(
    {
        tags.SPECIFIC_CHARACTER_SET,
        tags.SOP_CLASS_UID,
        tags.PATIENT_IDENTITY_REMOVED,
        tags.DEIDENTIFICATION_METHOD,
        tags.DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
        tags.LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
    }
)
_DIRECT_IDENTIFIERS: Final = frozenset(
    {
        tags.PATIENT_NAME,
        tags.PATIENT_ID,
        tags.PATIENT_BIRTH_DATE,
        tags.OTHER_PATIENT_IDS,
        tags.OTHER_PATIENT_NAMES,
        tags.OTHER_PATIENT_I_DS_SEQUENCE,
        tags.PATIENT_BIRTH_NAME,
        tags.PATIENT_ADDRESS,
        tags.PATIENT_MOTHER_BIRTH_NAME,
        tags.PATIENT_TELEPHONE_NUMBERS,
        tags.PATIENT_TELECOM_INFORMATION,
    }
)


# pydicom's dictionary is imported by profiles that have overrides only: a cold start shouldn't pay for it.
def _tag_of_keyword(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword!r} is neither a keyword of DICOM PS3.6 nor a tag")
    return tag


def _value_representation(tag: int) -> str:
    from pydicom.datadict import dictionary_VR  # noqa: PLC0415

    try:
        return dictionary_VR(tag)
    except KeyError:
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) isn't in the dictionary of DICOM PS3.6") from None
