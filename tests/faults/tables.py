"""Route tables that replace each other while records are on their way."""

from routing.table.routes import RouteTable
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

_FOLDERS = '[{ date = "DisconnectTimestamp" }, "hour", { field = "Channel", values = ["VOICE", "CHAT"] }]'
_TWO = "[limits]\nrecords = 2\n"
SMALL = table(ROUTES + _TWO)
"""Several commits for one batch."""

FOLDERS = table(ROUTES.replace('partition = "DisconnectTimestamp"', f"partition = {_FOLDERS}") + _TWO)
"""The same, with several folders for one date; for schedules in which no other table follows."""

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


def _renamed(text: str) -> list[RouteTable]:
    renamed = text.replace('name = "claims"', 'name = "motor-claims"')
    texts = [
        text,
        renamed,
        text.replace('name = "all"', 'name = "every-contact"'),
        renamed.replace('prefix = "Claims"', 'prefix = "Other"'),
    ]
    assert len(set(texts)) == len(texts)
    return [table(one) for one in texts]


RENAMED = _renamed(ROUTES)
"""Routes of other names below the same prefixes."""

PROTECTED_RENAMED = _renamed(_SEALED)[:3]
"""The same, of `PROTECTED`."""

READS_POISON = "reads poison"
"""The code that can decode what the code of `TABLE` sets aside (`world.decoder_of`)."""


def _with_new_code(text: str) -> list[RouteTable]:
    return [table(text), *(table(text, code=code) for code in ("other", READS_POISON, READS_POISON))]


NEW_CODE = _with_new_code(ROUTES)
"""The same routes, deployed with other code."""

PROTECTED_NEW_CODE = _with_new_code(_SEALED)
"""The same, of `PROTECTED`."""

REPARTITIONED = table(ROUTES.replace('partition = "DisconnectTimestamp"\n', ""))
"""Other dates. A replay finds what stands by the date that the deployed routes give it (docs/replay.md)."""
