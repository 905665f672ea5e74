"""Objects as people name them: by id, key, file or result, and what the stage knows of them. Talks to AWS."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

import pydicom
from pydicom.errors import InvalidDicomError

from cli.stage import OperationError, Stage
from runtime.aws import storage
from runtime.aws.clients import client
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from runtime.contract.objects import ObjectCoordinates
from runtime.ledger.claims import Claims
from runtime.ledger.rows import Row
from runtime.ledger.table import hashed

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_OBJECT_ID: Final = re.compile(r"(?:arn:.+:)?([0-9a-f]{32})(?:-[0-9]+)?", re.IGNORECASE)
"""An object's id, or the name or ARN of an execution, which has it."""
_PARALLEL: Final = 8
"""Requests to S3 at once."""
_UIDS: Final = ("StudyInstanceUID", "SOPInstanceUID")
_CHUNK: Final = 1024 * 1024


class Version(NamedTuple):
    """One version of an object in the raw bucket, and its row."""

    object_id: str
    row: Row | None
    """None before it was received"""
    superseded_by: str | None = None
    """id of the newest version of its key"""


def identify(stage: Stage, texts: Sequence[str]) -> list[str]:
    """Return the ids of the objects that a person means, each once: by id, by execution, or by key the newest version.

    Raises
    ------
    OperationError
        One of them is neither an object's id nor its key. Nothing has been done about the others then.
    """
    return list(dict.fromkeys(coordinates(stage, text).object_id for text in texts))


def coordinates(stage: Stage, text: str) -> ObjectCoordinates:
    """Return where the object is that a person means: by id, by execution, or by key the newest version.

    Raises
    ------
    OperationError
        There is no such object.
    """
    object_id = object_id_in(text)
    row = stage.ledger.row(object_id) if object_id else None
    if row is not None:
        return row.coordinates
    newest = next(storage.versions(client("s3"), _raw_bucket(stage), _key_in(text)), None)
    if newest is not None:
        return newest
    if object_id is not None:
        raise OperationError(f"{object_id}: the ledger has no such object, and the raw bucket none with this key.")
    raise OperationError(
        "No object has this id or key: give an id of 32 hexadecimal digits, as `quarantine list` and the logs tell it,"
        " or the whole key in the raw bucket."
    )


def object_id_in(text: str) -> str | None:
    """Return the object id of a text that is one, or the name or ARN of an execution; None where it is none."""
    match = _OBJECT_ID.fullmatch(text.strip())
    return match[1].lower() if match else None


def result_key(stage: Stage, text: str) -> str:
    """Return the key of a result that a person means: the text itself, or what the object with this id became.

    Raises
    ------
    OperationError
        The object has no result.
    """
    object_id = object_id_in(text)
    if object_id is None:
        return text
    row = stage.ledger.row(object_id)
    if row is None or row.output_key is None:
        raise OperationError(f"{object_id}: no result comes from such an object; `where` says what became of it.")
    return row.output_key


def find(stage: Stage, text: str) -> list[Version]:
    """Return the object versions that a person means, newest first.

    By an id or an execution it is one version, by a key all that the bucket has of it, by a result's key those that it
    was made of, and by a file on this machine those that have its content, its name or its instance.

    Raises
    ------
    OperationError
        There are none.
    """
    object_id = object_id_in(text)
    row = stage.ledger.row(object_id) if object_id else None
    if row is not None:
        return _with_rows(stage, [row.object_id])
    listed = [each.object_id for each in storage.versions(client("s3"), _raw_bucket(stage), _key_in(text))]
    object_ids = listed or _made_into(stage, _key_in(text)) or list(_of_file(stage, Path(text)))
    if not object_ids:
        raise OperationError(
            "No object has this id or key, no result has this key, and no object comes from a file of this name on "
            "this machine: give the whole key in the raw bucket, an object's id, or the file itself."
        )
    return _with_rows(stage, object_ids)


def superseding(s3: S3Client, rows: Sequence[Row]) -> dict[str, str]:
    """Return which of these objects have a newer version under their key: by object id, the newest one's id."""
    places = list(dict.fromkeys((row.bucket, row.key) for row in rows))

    def newest(place: tuple[str, str]) -> ObjectCoordinates | None:
        return next(storage.versions(s3, *place), None)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = dict(zip(places, pool.map(newest, places), strict=True))
    newest_ids = {row.object_id: found[row.bucket, row.key] for row in rows}
    return {
        object_id: coordinates.object_id
        for object_id, coordinates in newest_ids.items()
        if coordinates is not None and coordinates.object_id != object_id
    }


def _raw_bucket(stage: Stage) -> str:
    return stage.output(Output.RAW_BUCKET_NAME)


def _key_in(text: str) -> str:
    """Return the key of an S3 URI, or the text itself."""
    return text.removeprefix("s3://").partition("/")[2] if text.startswith("s3://") else text


def _with_rows(stage: Stage, object_ids: Sequence[str]) -> list[Version]:
    rows = stage.ledger.rows(object_ids)
    superseded = superseding(client("s3"), list(rows.values()))
    return [Version(each, rows.get(each), superseded.get(each)) for each in object_ids]


def _made_into(stage: Stage, key: str) -> list[str]:
    """Return the ids of the objects that a result was made of, as the audit log knows them."""
    if key.count("/") < 3:
        return []
    return list(dict.fromkeys(record.subject for record in stage.audit.of_output(key) if record.output_key == key))


def _of_file(stage: Stage, path: Path) -> Iterator[str]:
    """Yield the ids of the objects that a file became: uploaded as it is, under its name, or as the same instance.

    The file's study leads to them by an index, so that nothing has to be listed.
    """
    if not path.is_file():
        return
    under_its_name = storage.versions(client("s3"), _raw_bucket(stage), path.name)
    found = [each.object_id for each in under_its_name]
    study_uid, instance_uid = _uids(path)
    if study_uid:
        of_study = stage.ledger.rows_of_study(hashed(study_uid))
        rows = stage.ledger.rows([row.object_id for row in of_study]).values()
        etag = _md5(path)
        same = [row for row in rows if row.etag == etag or PurePosixPath(row.key).name == path.name]
        found += [row.object_id for row in sorted(same, key=lambda row: row.received_at, reverse=True)]
    holder = Claims(stage.ledger.table).holder(instance_uid) if instance_uid and not found else None
    yield from dict.fromkeys([*found, holder] if holder else found)


def _uids(path: Path) -> tuple[str | None, str | None]:
    """Return Study and SOP Instance UID of a file; None where it has none, or is no DICOM."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_UIDS))
        study, instance = (str(dataset.get(keyword) or "") or None for keyword in _UIDS)
    except (InvalidDicomError, OSError, EOFError, ValueError, NotImplementedError):
        return None, None
    return study, instance


def _md5(path: Path) -> str:
    """Return the MD5 of a file: the ETag of an object that was uploaded in one part, without a key of AWS KMS."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def end_in_words(status: LedgerStatus | None) -> str:
    """Return what a status means where its name does not say it; empty where it does."""
    return _MEANINGS.get(status, "")


_MEANINGS: Final = {
    None: "it waits in the intake queue, or its event was lost: `reconcile` starts what is missing",
    LedgerStatus.RECEIVED: "its execution is about to start",
    LedgerStatus.FAILED: "we failed, not the object: `redrive` starts its next attempt",
    LedgerStatus.DUPLICATE: "the same bytes of the same instance were delivered before",
    LedgerStatus.IGNORED: "its key is none that the stage accepts: see the settings accepted_prefixes and"
    " accepted_suffixes",
}
