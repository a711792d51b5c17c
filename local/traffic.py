"""Made-up traffic of a contact centre: varied contact records, agent events and segments from a seed.

The shapes are those of `events/records/`; ids, times, durations, numbers, queues and languages are drawn
anew for each record. All people are synthetic: 555-01xx numbers, example.com addresses.
"""

import json
import random
import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_RECORDS = Path(__file__).parent.parent / "events" / "records"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_NUMBER = re.compile(r"(\+1\d{3}55501|\+8130000)(\d{2,4})")
_QUEUES = ("Orders JP", "Orders", "受注窓口", "Billing JP", "Back office", "Main", "Mail", "Tech tier 2", "Callbacks")
_LOCALES = ("ja-JP", "en-US", "en-GB", "de-DE")
# How often each shape comes; voice dominates, as in most contact centres.
_CONTACTS = {
    "voice-inbound": 30, "voice-outbound": 8, "transfer-chain-1": 4, "transfer-chain-2": 4, "transfer-chain-3": 2,
    "callback": 5, "chat": 12, "task": 6, "email": 6, "abandoned-in-queue": 6, "ivr-only": 6,
    "japanese-attributes": 4, "contact-lens": 4, "campaign-voicemail": 3, "nulls-everywhere": 1,
}  # fmt: skip
_AGENT_EVENTS = {
    "heart-beat": 40, "state-change-connecting": 10, "state-change-connected": 10, "state-change-ended": 10,
    "state-change-task-paused": 4, "state-change-no-previous": 2, "login-null-snapshots": 1, "logout": 1,
}  # fmt: skip
_SEGMENTS = {"started": 1, "segments": 8, "completed": 1}


class Traffic:
    """An endless supply of records, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        """Load the shapes."""
        self._random = random.Random(seed)  # noqa: S311 - test data, not a secret
        self._shapes = {path.stem: json.loads(path.read_text()) for path in sorted(_RECORDS.glob("*.json"))}

    def contact_record(self) -> bytes:
        """Return a contact record as Connect sends it: minified, keys in ASCII order."""
        record = self._of("contact-", _CONTACTS)
        if isinstance(record.get("Queue"), dict) and record["Queue"].get("Name"):
            record["Queue"]["Name"] = self._random.choice(_QUEUES)
        if record.get("Attributes") is not None:
            record["Attributes"]["locale"] = self._random.choice(_LOCALES)
        return _minified(record)

    def agent_event(self) -> bytes:
        """Return an agent event; four in ten are heartbeats."""
        return _minified(self._of("agent-", _AGENT_EVENTS))

    def segment(self) -> bytes:
        """Return a Contact Lens segment."""
        return _minified(self._of("segment-", _SEGMENTS))

    def records(self, count: int) -> Iterator[bytes]:
        """Yield `count` records of all kinds: of ten, six contacts, three agent events and a segment."""
        makers = (self.contact_record, self.agent_event, self.segment)
        for maker in self._random.choices(makers, weights=(6, 3, 1), k=count):
            yield maker()

    def _of(self, family: str, weights: dict[str, int]) -> dict[str, Any]:
        (name,) = self._random.choices(list(weights), weights=list(weights.values()))
        shift = timedelta(seconds=self._random.randrange(86_400 * 3))
        record: dict[str, Any] = self._varied(self._shapes[family + name], {}, shift)
        return record

    def _varied(self, value: Any, ids: dict[str, str], shift: timedelta) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return {key: self._varied(below, ids, shift) for key, below in value.items()}
        if isinstance(value, list):
            return [self._varied(below, ids, shift) for below in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return self._random.randrange(value + 1) if value else 0
        if not isinstance(value, str):
            return value
        if match := _TIMESTAMP.fullmatch(value):
            moved = datetime.fromisoformat(value) + shift
            return moved.isoformat(timespec="milliseconds" if match[1] else "seconds").replace("+00:00", "Z")
        value = _UUID.sub(lambda match: ids.setdefault(match[0], self._uuid()), value)
        return _NUMBER.sub(self._number, value)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _number(self, match: re.Match[str]) -> str:
        digits = len(match[2])
        return f"{match[1]}{self._random.randrange(10**digits):0{digits}d}"


def _minified(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
