"""What the user of a local run can mend."""


class LocalRunError(Exception):
    """A local run cannot go on. The message is one sentence that says what to do; it needs no traceback."""
