"""A Kinesis event source mapping with Lambda's documented semantics, for a function on any emulator.

No emulator honours them: batching windows, partial responses, bisecting, retries, record age, on-failure
destinations, lanes, parents before children. Read in this order:

    mapping.py      what a mapping is configured to do, read from Lambda's API
    records.py      a stream record, and the event that Lambda makes of it
    verdict.py      what the function answered: which records have to come again
    lane.py         one batch in flight, in order: gathering, retries, bisecting, giving up
    shard.py        one shard: its lanes, its position in the stream
    on_failure.py   what is handed over when Lambda gives up
    source.py       the poller: reads the stream with the function's role and invokes the function

`lane.py` and `shard.py` are state machines without clock, thread or network, so that a test can put any
event between any two steps of theirs. Each rule cites the page that documents it; what AWS leaves open is
marked "Assumption".
"""

from local.event_source.mapping import Mapping, MappingError
from local.event_source.source import EventSource, EventSourceError

__all__ = ["EventSource", "EventSourceError", "Mapping", "MappingError"]
