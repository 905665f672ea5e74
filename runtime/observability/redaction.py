"""Redaction of errors, warnings and libraries' logs.

Their texts quote what was read: a header's values, an object's key. An error leaves a function or a command as its
class, its AWS error code and the line of our code that raised it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from botocore.exceptions import ClientError

_CODE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
"""Form of an AWS error code; other texts come from something that is not AWS."""

# Libraries quote values and keys in their logs (pydicom's of odd values, urllib3's of URLs), and the root logger's
# handler, which is Lambda's, would write them, or Python's last resort: only our own logger speaks.
logging.basicConfig(handlers=[logging.NullHandler()], force=True)
logging.lastResort = None
logging.raiseExceptions = False  # a record that can't be written would be quoted instead


def describe(error: BaseException) -> str:
    """Return an error's class, AWS error code if it has one, and the line that raised it; never its text."""
    parts = [type(error).__name__]
    if isinstance(error, ClientError):
        parts += [error.operation_name, error_code(error)]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "runtime" in Path(frame.filename).parts] or frames
    if ours:
        parts.append(f"{Path(ours[-1].filename).stem}.py:{ours[-1].lineno}")
    return " ".join(parts)


def error_code(error: ClientError) -> str:
    """Return the AWS error code; ``Unknown`` for what is none."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else "Unknown"


@contextmanager
def suppress_diagnostics() -> Iterator[None]:
    """Suppress what Python itself writes: warnings, and errors of threads and finalizers, which nobody can catch."""
    hooks = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = _ignore, _ignore
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks


def _ignore(_: object) -> None:
    """Replace a hook that writes an error with its text."""
