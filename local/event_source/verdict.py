"""The verdict: what a function's answer means for the records of its batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from local.event_source.records import StreamRecord


class Outcome(Enum):
    """How an invocation ended, before its payload is read."""

    ANSWERED = "the function returned"
    FAILED = "the function raised, timed out or was killed"
    NOT_INVOKED = "Lambda could not invoke it: throttled, or an error of the service"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one invocation.

    Attributes:
        outcome: How it ended.
        payload: The function's result as JSON values; None if there is none.
        request_id: Of the invocation.
    """

    outcome: Outcome
    payload: object = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which records have to come again.

    Attributes:
        done: Records from the front of the batch that are settled.
        is_counted: Whether it uses up a retry.
        is_whole: True if the answer names no record, so that nothing is known but that the batch failed.
    """

    done: int
    is_counted: bool = True
    is_whole: bool = False


def judge(answer: Answer, batch: Sequence[StreamRecord], *, reports_failures: bool) -> Verdict:
    """Judge an answer as Lambda does.

    Success is an empty or null `batchItemFailures`, an empty or null response. Failure of the whole is an
    exception, an empty or null `itemIdentifier`, and one with a bad key name. Else the lowest sequence number
    becomes the checkpoint, and everything from it on comes again, done or not. Throttles and errors of the
    service do not count as retries.

    Assumption: an identifier that is not in the batch, and a response that is no JSON object, fail the whole
    batch; AWS tells of neither for streams. "Lowest" is numeric.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
    Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-retries.html
    """
    if answer.outcome is Outcome.NOT_INVOKED:
        return Verdict(0, is_counted=False)
    if answer.outcome is Outcome.ANSWERED:
        numbers = _identifiers(answer.payload) if reports_failures else set()
        places = {record.position: place for place, record in enumerate(batch)}
        if numbers is not None and numbers <= places.keys():
            return Verdict(places[min(numbers)] if numbers else len(batch))
    return Verdict(0, is_whole=True)


def _identifiers(payload: object) -> set[int] | None:
    """Return the numbers in `{"batchItemFailures": [{"itemIdentifier": "<number>"}, ...]}`; None if malformed."""
    failures = payload.get("batchItemFailures") if isinstance(payload, dict) else payload
    if failures is None:
        return set()
    if not isinstance(payload, dict) or not isinstance(failures, list):
        return None
    texts = [failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures]
    if not all(isinstance(text, str) and text.isdecimal() and text.isascii() for text in texts):
        return None
    return {int(text) for text in texts if isinstance(text, str)}
