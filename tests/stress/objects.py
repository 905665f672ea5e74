"""What the stress tests upload, and what has to become of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import pydicom

from local.samples import BUNDLED, as_instance
from runtime.contract.ledger import LedgerStatus
from tests.stress.conftest import Figures
from tests.stress.deployed import Accounts, Deployed

CT = (BUNDLED / "CT_small.dcm").read_bytes()
LARGE_PIXELS = 24 * 1024 * 1024
"""bytes; enough to be copied inside S3, as parts of a multipart upload"""

_numbers = itertools.count()


def image() -> bytes:
    """Return a CT image that no other test has."""
    return as_instance(CT, next(_numbers))


def large_image() -> bytes:
    """Return a multi-frame image that is copied by a multipart upload."""
    dataset = pydicom.dcmread(BytesIO(image()))
    frame = dataset.PixelData
    dataset.NumberOfFrames = LARGE_PIXELS // len(frame)
    dataset.PixelData = frame * dataset.NumberOfFrames
    written = BytesIO()
    dataset.save_as(written)
    return written.getvalue()


@dataclass(frozen=True)
class Burst:
    """Objects, a tenth of them broken, a tenth of them copies of others that came long before.

    Copies in work at once may both write the same bytes: `test_should_deliver_a_file_under_fifty_keys_once` has those.
    """

    objects: Mapping[str, bytes]
    expected: Mapping[LedgerStatus, int]

    @classmethod
    def of(cls, count: int, prefix: str, *, large: int = 0) -> Burst:
        """Make so many objects, of which `large` are copied inside S3."""
        tenth = count // 10
        images = [large_image() for _ in range(large)] + [image() for _ in range(count - 2 * tenth - large)]
        contents = images + [image()[:-5000] for _ in range(tenth)] + images[large : large + tenth]
        objects = {f"{prefix}{number:05}.dcm": content for number, content in enumerate(contents)}
        expected = {
            LedgerStatus.DELIVERED: count - 2 * tenth,
            LedgerStatus.QUARANTINED: tenth,
            LedgerStatus.DUPLICATE: tenth,
        }
        return cls(objects, expected)

    def check(self, deployed: Deployed, accounts: Accounts, figures: Figures) -> None:
        """Require every object's verdict, every result's bytes, and no execution more than needed."""
        count = len(self.objects)
        figures.objects = count
        figures.retries, figures.seconds = accounts.failed_attempts, accounts.seconds
        figures.lost = sum((Counter(self.expected) - accounts.statuses).values())
        changed = [key for key, digests in accounts.results.items() if len(set(digests)) > 1]
        figures.duplicated = max(accounts.executions - figures.redriven - count, 0) + len(changed)

        assert accounts.statuses == self.expected
        assert accounts.executions - figures.redriven == count
        assert not changed
        delivered = accounts.key_of(LedgerStatus.DELIVERED)
        assert {row.output_key for row in delivered.values()} == set(accounts.results)
        for key, row in delivered.items():
            assert deployed.result(row.output_key or "") == deployed.expected(self.objects[key]), row.object_id
        for key, row in accounts.key_of(LedgerStatus.DUPLICATE).items():
            original = next(each for each in delivered.values() if each.object_id == row.duplicate_of)
            assert self.objects[original.key] == self.objects[key]
