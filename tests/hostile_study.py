"""A study that marks everything: each attribute, in several character sets, and each part of each object's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

from pydicom import dcmread
from pydicom.data import get_testdata_file

from runtime.deidentification.profile import Profile
from runtime.deidentification.rules.resolution import decide
from runtime.deidentification.rules.table import Action, rule_for, rules
from tests.deidentification import encoded
from tests.marker_file import Marker, MarkerFile, Place, marker_file
from tests.markers import DEPTH, UID_ROOT, Script, Search

CHARACTER_SETS: Final[Mapping[Script, tuple[str | list[str], str]]] = {
    Script.LATIN: ("ISO_IR 100", "latin-1"),
    Script.GREEK: ("ISO_IR 192", "utf-8"),
    Script.KATAKANA: ("ISO_IR 13", "shift_jis"),
    Script.JAPANESE: (["", "ISO 2022 IR 87"], "iso2022_jp"),
    Script.CHINESE: ("GB18030", "gb18030"),
}
"""DICOM's name of a character set for each script, and Python's."""
_TEXT_VRS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_OF_KEYS: Final = 0xC000
"""From this number on markers are those of keys."""
_OF_TEXTS: Final = 0xA000


@dataclass(frozen=True)
class HostileObject:
    """One object of the study, and every marker that is in its file."""

    key: str
    file: MarkerFile
    texts: frozenset[str]
    """what a search can look for: all but ages, whose four characters can't be told from chance"""

    @property
    def content(self) -> bytes:
        return self.file.content

    def unjustified(self, result: bytes, profile: Profile) -> list[str]:
        """Return the places of markers that a result still holds although the profile's rules remove them.

        Dates under a profile that moves them are left out: a day that moved may be another marker's.
        """
        return [
            f"{marker.place} ({marker.tag >> 16:04X},{marker.tag & 0xFFFF:04X}) {marker.vr}"
            for marker in self.file.survivors(result)
            if not _may_stay(marker, profile) and not (profile.date_shift and marker.vr in {"DA", "DT"})
        ]


def _may_stay(marker: Marker, profile: Profile) -> bool:
    """Tell by the tables whether a marker may survive: in a row that is kept or cleaned, or in no row at all.

    DICOM PS3.15 Table E.1-1 names every attribute that may identify somebody; what it doesn't name stays.
    """
    if marker.place not in (Place.TOP, Place.NESTED):
        return False
    rule = rule_for(marker.tag)
    return rule is None or decide(rule, profile).action in (Action.KEEP, Action.CLEAN)


class Found(NamedTuple):
    """Markers that were found."""

    keys: set[str]
    files: set[str]


class HostileStudy:
    """Makes objects with keys and instances of their own.

    Attributes
    ----------
    folder
        First part of every key.
    """

    def __init__(self) -> None:
        self._of_keys = count(_OF_KEYS)
        self._of_texts = count(_OF_TEXTS)
        self._in_keys: set[str] = set()
        self._in_files: set[str] = set()
        self._search = Search()
        self._objects = count()
        self.folder = self._part(Script.ASCII)

    def find(self, content: str | bytes, *, depth: int = DEPTH) -> Found:
        """Return which parts of keys and which contents of files are in a text, in any encoding."""
        found = self._search.find(content, depth=depth)
        return Found(found & self._in_keys, found & self._in_files)

    def key(self) -> str:
        """Return a key whose every part is a marker, each in another script."""
        greek, japanese, latin = (self._part(script) for script in (Script.GREEK, Script.JAPANESE, Script.ASCII))
        return f"{self.folder}/{greek}/{japanese} +&%C3/{latin}.dcm"

    def everywhere(self) -> HostileObject:
        """Return an object with a marker in every attribute, file meta information and the preamble."""
        file = marker_file(every_attribute=True)
        (old,) = {marker.content for marker in file.markers if marker.tag == 0x00080018 and marker.place is Place.TOP}
        new = f"{UID_ROOT}{90000 + next(self._objects)}".encode()
        markers = [marker._replace(content=new) if marker.content == old else marker for marker in file.markers]
        texts = {marker.content.decode() for marker in markers if marker.vr != "AS"}
        return self._object(MarkerFile(file.content.replace(old, new), markers), texts)

    def written_in(self, script: Script) -> HostileObject:
        """Return an object with a marker of a script in every attribute of text that may identify somebody."""
        data_set = dcmread(str(get_testdata_file("CT_small.dcm")))
        data_set.SpecificCharacterSet, codec = CHARACTER_SETS[script]
        markers, texts = [], set()
        for rule in rules():
            if rule.tag is not None and rule.vr in _TEXT_VRS and rule.tag >> 16 >= 0x0008:
                text = script.marker(next(self._of_texts))
                data_set.add_new(rule.tag, rule.vr, text)
                markers.append(Marker(Place.TOP, rule.tag, rule.vr, text.encode(codec)))
                texts.add(text)
        number = next(self._objects)
        for level, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            uid = f"{UID_ROOT}{80000 + 1000 * level + number}"
            setattr(data_set, keyword, uid)
            texts.add(uid)
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        return self._object(MarkerFile(encoded(data_set), markers), texts)

    def again(self, original: HostileObject, content: bytes | None = None) -> HostileObject:
        """Return an object of the same instance under another key, of the same bytes or of others."""
        file = original.file if content is None else original.file._replace(content=content)
        return HostileObject(self.key(), file, original.texts)

    def _object(self, file: MarkerFile, texts: set[str]) -> HostileObject:
        self._search.add(texts - self._in_files)
        self._in_files |= texts
        return HostileObject(self.key(), file, frozenset(texts))

    def _part(self, script: Script) -> str:
        part = script.marker(next(self._of_keys))
        self._search.add({part})
        self._in_keys.add(part)
        return part
