"""The origin of an event: only what the stack's own stream has issued is delivered.

Anyone who may invoke the function could pass it any event. An event with numbers that are ahead of the stream
would make every real record look delivered.
"""

from botocore.exceptions import BotoCoreError, ClientError

from aws.stream_reader import StreamReader
from routing.errors import EventError, StreamError
from routing.model import SequenceNumber, Shard


class Origin:
    """Compares events with the stack's stream."""

    def __init__(self, stream: StreamReader) -> None:
        """Use a reader of the stack's stream."""
        self._stream = stream

    def admit(self, shard: Shard, number: SequenceNumber) -> None:
        """Return if the stack's stream has issued a sequence number in a shard.

        Raises:
            EventError: It is another stream, or the stream has not issued the number.
            StreamError: The stream cannot be asked.
        """
        if shard.stream_arn != self._stream.arn:
            raise EventError(
                f"event: expected records of {self._stream.arn}, got records of another stream; only the event source "
                "mapping of this stack calls this function. To try an event, use `sam local invoke`"
            )
        try:
            is_issued = self._stream.has_issued(shard.shard_id, number)
        except (ClientError, BotoCoreError) as err:
            code = err.response["Error"]["Code"] if isinstance(err, ClientError) else type(err).__name__
            raise StreamError(f"stream: reading it failed with {code}; Lambda sends again") from err
        if not is_issued:
            found = "it has not" if is_issued is False else "it holds no record any more to tell"
            raise EventError(
                f"event: expected {shard.shard_id} to have issued sequence number {number}, {found}: the event is "
                "invented, or expired, or the stream was made anew under its name; see the runbook, section "
                "`function-errors`"
            )
