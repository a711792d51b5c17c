"""Route tables that replace each other while records are on their way."""

from tests.builders import ROUTES, table

TABLE = table()
"""What most schedules run with."""

_MOVED = ROUTES.replace('prefix = "Claims"', 'prefix = "Other"')
_RENAMED = ROUTES.replace('prefix = "all/contacts"', 'prefix = "everything"')
_BY_ARRIVAL = ROUTES.replace('partition = "DisconnectTimestamp"\n', "")
_MORE = ROUTES.replace(
    "[unmatched]",
    '[[routes]]\nname = "audit"\nabout = "All again"\nkinds = ["contact_record", "contact_lens_segment"]\n'
    'prefix = "audit"\n\n[unmatched]',
)
_FEWER = ROUTES.partition('[[routes]]\nname = "speech"')[0] + "[[routes]]" + ROUTES.rpartition("[[routes]]")[2]
_WIDER = ROUTES.replace('pattern = { Queue = { Name = [{ prefix = "Claims" }] } }\n', "")

SMALL = table(ROUTES + "[limits]\nrecords = 2\n")
"""Several commits for one batch."""

CHANGED = [SMALL, *(table(text) for text in (_MOVED, _RENAMED, _MORE, _FEWER, _WIDER))]
"""Patterns, prefixes, routes, kinds and limits that are not those of `TABLE`."""

PROTECTED = table(
    ROUTES.replace(
        'prefix = "claims"\n',
        'prefix = "claims"\n[[routes.protect]]\nhash = ["ContactId"]\n[[routes.protect]]\nseal = ["Queue"]\n',
    )
)
"""`claims` sees tokens of contacts, and no queue."""

REPARTITIONED = table(_BY_ARRIVAL)
"""Other dates. A replay finds what stands by the date that the deployed routes give it (docs/replay.md)."""
