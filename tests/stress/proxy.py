"""microburst 0.10.0, telling how long what it relays is.

It takes `Content-Length` for a header of the connection and drops it. Then S3's answer to HEAD tells no size, and the
client doesn't notice that a body was cut off, though microburst's own source means it to.
"""

from __future__ import annotations

import sys

from microburst import cli, forward

forward.HOP_BY_HOP = forward.HOP_BY_HOP - {"content-length"}

if __name__ == "__main__":
    sys.exit(cli.main())
