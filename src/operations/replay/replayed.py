"""What a replay reports of each thing that it looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What became of one thing that was to be replayed.

    Attributes:
        key: The object, or the range of the stream.
        route: Where its records belong; empty if to many routes.
        reason: Why it was there, e.g. `KmsKeyDisabled`; of a batch Lambda's condition.
        records: Pairs of record and route that it holds and that are not delivered yet.
        blocked_by: Why it is still there; empty if it was delivered, or would be.
        waiting: Records of it that wait as dead letters although they can be decoded now; their own replay delivers
            them.
        to_come: Records of the stream that some route has not reached: the function will deliver them.
        raised_at: Files, lines and functions of an error that nothing here expects; empty otherwise.
    """

    key: str
    route: str = ""
    reason: str = ""
    records: int = 0
    blocked_by: str = ""
    waiting: int = 0
    to_come: int = 0
    raised_at: str = ""
