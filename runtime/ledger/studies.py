"""Studies: the last revision of each that was announced."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from runtime.contract.events import RevisionCause
from runtime.contract.ledger import STUDY_ITEMS
from runtime.contract.models import Frozen
from runtime.ledger.table import UNKNOWN, LedgerTable, placeholders


class StudyRevision(Frozen):
    """Revision of a study that was announced last, or is about to be."""

    revision: int = Field(ge=1)
    digest: str = Field(description="of the study's rows")
    cause: RevisionCause
    objects: int = Field(ge=1, description="the study's rows")
    claimed_at: str = Field(description="ISO 8601, UTC; when its announcement began")
    published_at: str | None = Field(default=None, description="ISO 8601, UTC; None until it was announced")


_ATTRIBUTES: Final = tuple(StudyRevision.model_fields)
_REVISED: Final = f"SET {', '.join(f'#{name} = :{name}' for name in _ATTRIBUTES)}"


class Studies:
    """Revisions of the studies of a stage.

    Parameters
    ----------
    table
        Of the ledger.
    """

    def __init__(self, table: LedgerTable) -> None:
        self._table = table

    def last_revision(self, study_id: str) -> StudyRevision | None:
        """Return a study's last revision; None before its first."""
        item = self._table.get(STUDY_ITEMS + study_id)
        return None if item is None else StudyRevision.model_validate({name: item[name] for name in _ATTRIBUTES})

    def revise(self, study_id: str, seen: StudyRevision | None, revision: StudyRevision) -> bool:
        """Replace a study's revision; tell whether it was still the one that was seen.

        Parameters
        ----------
        study_id
            Of the study.
        seen
            The revision on which the caller decided; None: there was none.
        revision
            The new one.
        """
        values = placeholders(revision.model_dump())
        condition = UNKNOWN
        if seen is not None:
            condition = "#revision = :seen AND #claimed_at = :seen_at"
            values |= {":seen": seen.revision, ":seen_at": seen.claimed_at}
        return self._table.update(STUDY_ITEMS + study_id, _REVISED, values, condition=condition)
