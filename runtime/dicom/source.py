"""Objects as sources of bytes, and origins: the bytes of one that a result is made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol


class ByteSource(Protocol):
    """Random access to one immutable object: an S3 object version, a file, or bytes."""

    @property
    def size(self) -> int:
        """Length of the object in bytes."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to, not including, `stop`; fewer where the object ends before `stop`."""


class Origin(NamedTuple):
    """Range of an object that a result copies: of the source itself, or of one staged with cleaned pixels."""

    source: ByteSource
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.stop - self.start

    def read(self) -> bytes:
        """Return all bytes of the range."""
        return self.source.read(self.start, self.stop)


class BytesSource:
    """An object held in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._content)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of ``[start, stop)``."""
        return self._content[start:stop]


class FileSource:
    """A local file, opened for each read so that a process may hold many of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = path.stat().st_size

    @property
    def size(self) -> int:
        """Length in bytes when the source was made."""
        return self._size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of ``[start, stop)``."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(descriptor, max(stop - start, 0), start)
        finally:
            os.close(descriptor)
