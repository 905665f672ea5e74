"""Each SOP instance is delivered once: who may write it, and what becomes of the others.

An object version claims its instance before it writes and confirms when it has written. Between the two it may fail
or die, so others with the same bytes don't rely on it: they write the same result, and the first to confirm delivers.
Other bytes never replace what was delivered, nor what may be about to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.aws import storage
from runtime.contract.ledger import LedgerStatus
from runtime.contract.steps import PixelIdentity
from runtime.dicom.errors import DicomError
from runtime.ledger.fingerprint import Fingerprint, fingerprint_of, same_content
from runtime.ledger.rows import Claim, Ledger

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MAXIMUM_ROUNDS: Final = 10
"""Decisions on one instance. A claim changes when it is taken over or confirmed, and hardly twice in one delivery."""

_GAVE_UP: Final = frozenset((LedgerStatus.FAILED, LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))


class ContestedError(Exception):
    """The claim changed in every round. To be tried again later."""


class Delivery(NamedTuple):
    """What became of an object's result."""

    output_key: str
    """under which the instance was delivered"""
    identity: PixelIdentity | None
    """None where nothing was written"""
    duplicate_of: str | None
    """id of the object that delivered the same bytes; None where this one did"""


@dataclass(frozen=True)
class InstanceClaim:
    """The claim of one object version to one SOP instance.

    Parameters
    ----------
    ledger
        Where claims are kept.
    client
        Reads the raw and writes the processed bucket.
    source
        The object version.
    sop_instance_uid
        That it has.
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
            Others changed the claim all the while.
        """
        identity: PixelIdentity | None = None
        for _ in range(MAXIMUM_ROUNDS):
            claim = self.ledger.claim(self.sop_instance_uid, self._object_id, self._fingerprint)
            if claim.holder != self._object_id:
                if not self._is_same(claim):
                    self._take_over(claim)
                    continue
                if claim.output_key is not None and storage.exists(self.client, result.bucket, claim.output_key):
                    return Delivery(claim.output_key, identity, claim.holder)
            if identity is None:
                identity = storage.write_result(self.client, self.source, result)
            if self._change(claim, delivered_as=result.key):
                return Delivery(result.key, identity, None)
        raise ContestedError

    @cached_property
    def _object_id(self) -> str:
        return self.source.coordinates.object_id

    @cached_property
    def _fingerprint(self) -> Fingerprint:
        return fingerprint_of(self.source)

    def _take_over(self, claim: Claim) -> None:
        """Take the claim of an object of other bytes that was given up before it was delivered."""
        holder = self.ledger.row(claim.holder)
        if claim.output_key is not None or holder is None or holder.status not in _GAVE_UP:
            raise DicomError("CONFLICTING_INSTANCE", attribute="SOPInstanceUID")
        self._change(claim)

    def _change(self, claim: Claim, *, delivered_as: str | None = None) -> bool:
        return self.ledger.change_claim(
            self.sop_instance_uid, claim, self._object_id, self._fingerprint, delivered_as=delivered_as
        )

    def _is_same(self, claim: Claim) -> bool:
        """Tell whether the holder has the same bytes. Of a holder that is gone, bytes can't be shown to be the same."""
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
