"""Route tables that replace each other while records are on their way."""

from routing.routes import RouteTable
from tests.builders import ROUTES, table

_SEALED = ROUTES.replace(
    'prefix = "claims"\n',
    'prefix = "claims"\n[[routes.protect]]\nhash = ["ContactId"]\n[[routes.protect]]\nseal = ["Queue"]\n',
)
_AUDIT = (
    '[[routes]]\nname = "audit"\nabout = "All again"\nkinds = ["contact_record", "contact_lens_segment"]\n'
    'prefix = "audit"\n\n[unmatched]'
)
_WITHOUT_SPEECH = ROUTES.partition('[[routes]]\nname = "speech"')[2].partition("[[routes]]")[0]

TABLE = table()
"""What most schedules run with."""

SMALL = table(ROUTES + "[limits]\nrecords = 2\n")
"""Several commits for one batch."""

PROTECTED = table(_SEALED)
"""`claims` sees tokens of contacts, and no queue."""


def _changed(text: str) -> list[RouteTable]:
    texts = [
        text + "[limits]\nrecords = 2\n",
        text.replace('prefix = "Claims"', 'prefix = "Other"'),
        text.replace('prefix = "all/contacts"', 'prefix = "everything"'),
        text.replace("[unmatched]", _AUDIT),
        text.replace(f'[[routes]]\nname = "speech"{_WITHOUT_SPEECH}', ""),
        text.replace('pattern = { Queue = { Name = [{ prefix = "Claims" }] } }\n', ""),
    ]
    assert len({*texts, text}) == len(texts) + 1
    return [table(one) for one in texts]


CHANGED = _changed(ROUTES)
"""Patterns, prefixes, routes, kinds and limits that are not those of `TABLE`."""

PROTECTED_CHANGED = _changed(_SEALED)
"""The same, of `PROTECTED`."""

REPARTITIONED = table(ROUTES.replace('partition = "DisconnectTimestamp"\n', ""))
"""Other dates. A replay finds what stands by the date that the deployed routes give it (docs/replay.md)."""
