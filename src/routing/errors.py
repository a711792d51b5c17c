"""Everything that can go wrong in the core, and who has to act on it.

    CtrFanoutError
    ├── ConfigurationError    the operator: all faults of a file or an environment at once
    ├── EventError            the caller: the event is not what Lambda sends for one Kinesis shard
    ├── RecordError           nobody now: the record becomes a dead letter with a reason
    ├── DeliveryError         transient: Lambda sends again; permanent: the object becomes a dead letter
    ├── CheckpointError       Lambda: it sends again
    ├── StreamError           Lambda: it sends again; the stream could not be asked
    ├── OutOfTimeError        Lambda: it sends the halves of the batch
    └── AccountingError       us: a bug; the invocation fails rather than lose a record in silence

A message reads `<where>: expected <what>, got <type or size>[; <what to do>]` and never holds a value
of a record; values of the configuration are shown with `!r`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from routing.reasons import Reason


class CtrFanoutError(Exception):
    """The root of all errors that this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a configuration.

    Attributes:
        where: Path to the fault, e.g. `route 'claims': pattern.Channel`; empty for the whole.
        what: What was expected and what was found, e.g. `expected a non-empty array, got str`.
        line: Of the file; None if there is none, or it is not known.
    """

    where: str
    what: str
    line: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigurationError(CtrFanoutError):
    """A file or an environment is refused; `faults` names every fault of it, in reading order."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        """Gather the faults of one source, e.g. `routes.toml`."""
        self.source = source
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{source}: {fault}" for fault in self.faults))


class EventError(CtrFanoutError):
    """The event is not a Lambda event of one Kinesis shard, so no record of it can be judged."""


class RecordError(CtrFanoutError):
    """A record cannot be processed, now or ever; its bytes become a dead letter.

    Attributes:
        reason: The code that the dead letter and the metrics carry.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        """Say why; `detail` names positions, types and sizes, never a value."""
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class DeliveryError(CtrFanoutError):
    """An object did not land.

    Attributes:
        reason: The code for metrics and dead letters.
        is_transient: True if the same put may succeed later without anybody's help.
    """

    def __init__(self, message: str, *, reason: Reason, is_transient: bool) -> None:
        """Carry the verdict of the sink."""
        self.reason = reason
        self.is_transient = is_transient
        super().__init__(message)


class CheckpointError(CtrFanoutError):
    """The row of the shard could not be claimed or committed; nothing is lost, Lambda sends again.

    Attributes:
        reason: The code for the metrics.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        """Carry the verdict of the checkpoint."""
        self.reason = reason
        super().__init__(message)


class StreamError(CtrFanoutError):
    """The stream could not be asked whether it has issued a record; nothing is lost, Lambda sends again."""


class OutOfTimeError(CtrFanoutError):
    """Time ran out before anything of a batch was committed; nothing is lost, Lambda sends its halves."""


class AccountingError(CtrFanoutError):
    """Records in and records accounted for differ: a bug, raised before anything is committed."""
