"""microburst 0.10.0, put right in two places.

It takes `Content-Length` for a header of the connection and drops it. Then S3's answer to HEAD tells no size, and the
client doesn't notice that a body was cut off, though microburst's own source means it to.

It puts `AWS.SimpleQueueService.` before every error code of SQS. SQS does so with a few; a throttle is a bare
`RequestThrottled`, and by another code no client knows that it may ask again.
"""

from __future__ import annotations

import sys

from microburst import cli, forward, models

forward.HOP_BY_HOP = forward.HOP_BY_HOP - {"content-length"}
models._QUERY_ERROR_NAMESPACE.clear()

if __name__ == "__main__":
    sys.exit(cli.main())
