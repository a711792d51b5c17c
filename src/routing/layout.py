"""The layout of the bucket: the prefixes that are not those of a route.

`dead-letter/records/` and `dead-letter/objects/` hold dead letters, `aws/lambda/` the batches that Lambda gave up on,
`archive/` the raw stream.
"""

from routing.model import ObjectKey, RouteName

DEAD_LETTER = RouteName("dead-letter")
"""Dead letters are a route of their own, with its own key and watermark; no table may define it."""

DEAD_LETTER_PREFIX = "dead-letter"
RECORD_LETTER_PREFIX = f"{DEAD_LETTER_PREFIX}/records"
OBJECT_LETTER_PREFIX = f"{DEAD_LETTER_PREFIX}/objects"
HANDED_OVER_PREFIX = "aws/lambda"
HANDED_OVER = f"{HANDED_OVER_PREFIX}/"
"""Where Lambda itself puts the batches that it gave up on."""

ARCHIVE_PREFIX = "archive"


def letter_key(intended: ObjectKey) -> ObjectKey:
    """Return where an object waits that its destination refuses."""
    return ObjectKey(f"{OBJECT_LETTER_PREFIX}/{intended}")


def intended_key(key: ObjectKey) -> ObjectKey:
    """Return where the content of an object belongs: of a dead letter of an object its intended key, else the key."""
    return ObjectKey(key.removeprefix(f"{OBJECT_LETTER_PREFIX}/"))
