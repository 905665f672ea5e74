"""Each SOP instance is delivered once: who may write it, and what becomes of the others.

An object version claims its instance before it writes and confirms when it has written. Between the two it may fail
or die, so others with the same bytes don't rely on it: they write the same result, and the first to confirm delivers.
Other bytes never replace what was delivered, nor what may be about to be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.contract import Frozen, LedgerStatus, ObjectCoordinates
from runtime.dicom.errors import DicomError
from runtime.fingerprint import fingerprint_of, same_content
from runtime.ledger import Claim, Ledger
from runtime.storage import S3Object

MAXIMUM_ROUNDS: Final = 10
"""Decisions on one instance. A claim changes when it is taken over or confirmed, and hardly twice in one delivery."""

_GAVE_UP: Final = frozenset((LedgerStatus.FAILED, LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))


class ContestedError(Exception):
    """The claim changed in every round. To be tried again later."""


class Duplicate(Frozen):
    """The instance was delivered with the same bytes."""

    holder: str
    """object id"""
    output_key: str


class InstanceClaim:
    """The claim of one object version to one SOP instance.

    Parameters
    ----------
    ledger
        Where claims are kept.
    source
        The object version.
    sop_instance_uid
        That it has.
    another
        Makes an object of other coordinates readable.
    is_there
        Tells whether a result exists under a key.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: S3Object,
        sop_instance_uid: str,
        *,
        another: Callable[[ObjectCoordinates], S3Object],
        is_there: Callable[[str], bool],
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._object_id = source.coordinates.object_id
        self._uid = sop_instance_uid
        self._another = another
        self._is_there = is_there
        self._fingerprint = fingerprint_of(source)

    def deliver(self, output_key: str, write: Callable[[], None]) -> Duplicate | None:
        """Write the result unless the instance was delivered with the same bytes, which is then returned.

        Raises
        ------
        DicomError
            ``CONFLICTING_INSTANCE`` where the instance belongs to an object of other bytes.
        ContestedError
            Others changed the claim all the while.
        """
        written = False
        for _ in range(MAXIMUM_ROUNDS):
            claim = self._ledger.claim(self._uid, self._object_id, self._fingerprint)
            if claim.holder != self._object_id:
                if not self._is_same(claim):
                    self._take_over(claim)
                    continue
                if claim.output_key is not None and self._is_there(claim.output_key):
                    return Duplicate(holder=claim.holder, output_key=claim.output_key)
            if not written:
                write()
                written = True
            if self._change(claim, delivered_as=output_key):
                return None
        raise ContestedError

    def _take_over(self, claim: Claim) -> None:
        """Take the claim of an object of other bytes that was given up before it was delivered."""
        holder = self._ledger.row(claim.holder)
        if claim.output_key is not None or holder is None or holder.status not in _GAVE_UP:
            raise DicomError("CONFLICTING_INSTANCE", attribute="SOPInstanceUID")
        self._change(claim)

    def _change(self, claim: Claim, *, delivered_as: str | None = None) -> bool:
        return self._ledger.change_claim(
            self._uid, claim, self._object_id, self._fingerprint, delivered_as=delivered_as
        )

    def _is_same(self, claim: Claim) -> bool:
        """Tell whether the holder has the same bytes. Of a holder that is gone, bytes can't be shown to be the same."""
        agrees = self._fingerprint.agrees(claim.fingerprint)
        if agrees is not None:
            return agrees
        holder = self._ledger.row(claim.holder)
        if holder is None:
            return False
        try:
            return same_content(self._another(holder.coordinates), self._source)
        except DicomError:
            return False
