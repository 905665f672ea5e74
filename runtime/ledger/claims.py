"""Claims on SOP instances, by which each is delivered once.

An object version claims its instance before it writes, and confirms after. Between the two it may fail, so others with
the same bytes don't rely on it: they write the same result, and the first to confirm delivers. Other bytes never
replace a delivered result, nor one that may be about to be delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import Field

from runtime.aws import storage
from runtime.contract.ledger import LedgerStatus
from runtime.contract.models import Frozen
from runtime.contract.steps import PixelIdentity
from runtime.dicom.errors import DicomError
from runtime.ledger.fingerprint import Fingerprint, fingerprint_of, same_content
from runtime.ledger.rows import Ledger
from runtime.ledger.table import UNKNOWN, LedgerTable, hashed, placeholders

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MAXIMUM_ROUNDS: Final = 10
"""Decisions on one instance in one delivery, during which a claim hardly changes twice."""

_GAVE_UP: Final = frozenset((LedgerStatus.FAILED, LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))
_CLAIMED: Final = "SET #holder = :holder, #fingerprint = :fingerprint"
_COUNTED: Final = " ADD #revision :one"


class Claim(Frozen):
    """Claim of an object version to deliver a SOP instance.

    With an `output_key` the instance is delivered, and only the same bytes may write it again.
    """

    holder: str = Field(description="object id")
    fingerprint: Fingerprint
    revision: int = Field(description="grows with every change, so that a decision on an older one is refused")
    output_key: str | None = None


class Claims:
    """Claims of a stage.

    Parameters
    ----------
    table
        Of the ledger. A claim expires after its last change.
    """

    def __init__(self, table: LedgerTable) -> None:
        self._table = table

    def claim(self, sop_instance_uid: str, object_id: str, fingerprint: Fingerprint) -> Claim:
        """Claim a SOP instance for an object version unless another holds it; return the claim that stands."""
        name = claim_item(sop_instance_uid)
        condition = f"{UNKNOWN} OR #holder = :holder"
        self._table.update(
            name, _CLAIMED + _COUNTED, _values(object_id, fingerprint), condition=condition, expires=True
        )
        item = self._table.get(name)
        if item is None:
            raise LookupError("a claim that was just written is gone")
        return Claim.model_validate({field: item.get(field) for field in Claim.model_fields})

    def holder(self, sop_instance_uid: str) -> str | None:
        """Return the id of the object version that holds a SOP instance; None where none does."""
        item = self._table.get(claim_item(sop_instance_uid))
        return None if item is None else str(item["holder"])

    def change(
        self,
        sop_instance_uid: str,
        seen: Claim,
        object_id: str,
        fingerprint: Fingerprint,
        *,
        delivered_as: str | None = None,
    ) -> bool:
        """Hand a claim to an object version, or confirm its delivery; tell whether it was still as it was seen.

        Parameters
        ----------
        sop_instance_uid
            Of the instance.
        seen
            The claim on which the caller decided.
        object_id
            Of the new holder.
        fingerprint
            Of that version.
        delivered_as
            The result's key, once it is written.
        """
        update, values = _CLAIMED, _values(object_id, fingerprint) | {":seen": seen.revision}
        if delivered_as is not None:
            update, values = f"{update}, #output_key = :output_key", values | {":output_key": delivered_as}
        name = claim_item(sop_instance_uid)
        return self._table.update(name, update + _COUNTED, values, condition="#revision = :seen", expires=True)


def claim_item(sop_instance_uid: str) -> str:
    """Return the name of the item that holds the claim on a SOP instance."""
    return f"instance#{hashed(sop_instance_uid)}"


def _values(object_id: str, fingerprint: Fingerprint) -> dict[str, Any]:
    return placeholders({"holder": object_id, "fingerprint": fingerprint.model_dump(), "one": 1})


class ContestedError(Exception):
    """Others changed the claim in every round. A later attempt may succeed."""


class Delivery(NamedTuple):
    """Outcome of an object's delivery."""

    output_key: str
    """under which the instance was delivered"""
    identity: PixelIdentity | None
    """None where nothing was written"""
    duplicate_of: str | None
    """id of the object that delivered the same bytes; None where this one did"""


@dataclass(frozen=True)
class InstanceClaim:
    """Delivery of one object version under a claim on its SOP instance.

    Parameters
    ----------
    ledger
        Of the stage.
    client
        Of S3; reads the raw and writes the processed bucket.
    source
        The object version.
    sop_instance_uid
        Of its instance.
    """

    ledger: Ledger
    client: S3Client
    source: storage.S3Object
    sop_instance_uid: str

    def deliver(self, result: storage.Result) -> Delivery:
        """Write the result, unless the instance was delivered with the same bytes and that result is there.

        Raises
        ------
        DicomError
            ``CONFLICTING_INSTANCE`` where the instance belongs to an object of other bytes; what
            `runtime.aws.storage.write_result` raises.
        ContestedError
            Others changed the claim in every round.
        """
        identity: PixelIdentity | None = None
        for _ in range(MAXIMUM_ROUNDS):
            claim = self._claims.claim(self.sop_instance_uid, self._object_id, self._fingerprint)
            if claim.holder != self._object_id:
                if not self._is_same(claim):
                    self._take_over(claim)
                    continue
                if claim.output_key is not None and storage.exists(self.client, result.bucket, claim.output_key):
                    return Delivery(claim.output_key, identity, claim.holder)
            if identity is None:
                identity = storage.write_result(self.client, result)
            if self._change(claim, delivered_as=result.key):
                return Delivery(result.key, identity, None)
        raise ContestedError

    @cached_property
    def _claims(self) -> Claims:
        return Claims(self.ledger.table)

    @cached_property
    def _object_id(self) -> str:
        return self.source.coordinates.object_id

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        return fingerprint_of(self.source)

    def _take_over(self, claim: Claim) -> None:
        """Take the claim of an object of other bytes that gave up before its delivery."""
        holder = self.ledger.row(claim.holder)
        if claim.output_key is not None or holder is None or holder.status not in _GAVE_UP:
            raise DicomError("CONFLICTING_INSTANCE", attribute="SOPInstanceUID")
        self._change(claim)

    def _change(self, claim: Claim, *, delivered_as: str | None = None) -> bool:
        return self._claims.change(
            self.sop_instance_uid, claim, self._object_id, self._fingerprint, delivered_as=delivered_as
        )

    def _is_same(self, claim: Claim) -> bool:
        """Tell whether the holder has the same bytes; False where it is gone, since nothing can show it."""
        agrees = self._fingerprint.agrees(claim.fingerprint)
        if agrees is not None:
            return agrees
        holder = self.ledger.row(claim.holder)
        if holder is None:
            return False
        try:
            return same_content(storage.S3Object(self.client, holder.coordinates), self.source)
        except DicomError:
            return False
