"""Saved queries and views, in Athena's SQL; `tests/analysis` runs each on delivered objects.

Written for both Athena and the engine of the tests: arrays of objects are opened by
`UNNEST(sequence(...))` and `element_at`, since the two spread an array of rows differently.

Source: https://docs.aws.amazon.com/athena/latest/ug/functions-env3.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from routing.model import Kind
from schema.columns import Tree

_ANY_DAY = (
    "day BETWEEN date_format(current_date - INTERVAL '6' DAY, '%Y-%m-%d') AND date_format(current_date, '%Y-%m-%d')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedQuery:
    """A query that analysts find in their workgroup.

    Attributes:
        name: For people.
        about: What its rows are.
        kind: Of which records.
        needs: Columns, dotted, without which there is no such query: a route's rules may have taken them out.
        sql: With `{table}`, and `{days}` for the days to look at: the last seven, by the UTC date of the partition.
    """

    name: str
    about: str
    kind: Kind
    needs: tuple[str, ...]
    sql: str


_NEWEST = """
(
    SELECT *, row_number() OVER (PARTITION BY contactid ORDER BY lastupdatetimestamp DESC, "$path" DESC) AS nth
    FROM {table}
    WHERE {days}
)"""

SAVED_QUERIES = (
    SavedQuery(
        name="Abandoned by queue",
        about="Contacts that left a queue before an agent took them, by queue and day",
        kind=Kind.CONTACT_RECORD,
        needs=(
            "ContactId", "LastUpdateTimestamp", "Queue.Name", "Queue.EnqueueTimestamp", "Queue.Duration",
            "Agent.ConnectedToAgentTimestamp",
        ),
        sql=f"""
SELECT
    day,
    queue.name AS queue_name,
    count(*) AS enqueued,
    count_if(agent.connectedtoagenttimestamp IS NULL) AS abandoned,
    round(100.0 * count_if(agent.connectedtoagenttimestamp IS NULL) / count(*), 1) AS abandoned_percent,
    approx_percentile(CAST(queue.duration AS double), 0.5) AS median_wait_seconds
FROM {_NEWEST}
WHERE nth = 1 AND queue.enqueuetimestamp IS NOT NULL
GROUP BY day, queue.name
ORDER BY day, abandoned DESC, queue_name""",
    ),
    SavedQuery(
        name="Handle time",
        about="How long agents were busy with a contact: talk, hold and after-contact work, by queue",
        kind=Kind.CONTACT_RECORD,
        needs=(
            "ContactId", "LastUpdateTimestamp", "Queue.Name", "Channel", "Agent.ConnectedToAgentTimestamp",
            "Agent.AgentInteractionDuration", "Agent.CustomerHoldDuration", "Agent.AfterContactWorkDuration",
        ),
        sql=f"""
SELECT
    queue.name AS queue_name,
    channel,
    count(*) AS handled,
    round(avg(
        coalesce(agent.agentinteractionduration, 0)
        + coalesce(agent.customerholdduration, 0)
        + coalesce(agent.aftercontactworkduration, 0)
    ), 1) AS average_handle_seconds,
    round(avg(coalesce(agent.aftercontactworkduration, 0)), 1) AS average_after_contact_seconds
FROM {_NEWEST}
WHERE nth = 1 AND agent.connectedtoagenttimestamp IS NOT NULL
GROUP BY queue.name, channel
ORDER BY handled DESC, queue_name, channel""",
    ),
    SavedQuery(
        name="Re-emissions",
        about="Contacts that Connect has sent more than once, and how long after the first time the last one came",
        kind=Kind.CONTACT_RECORD,
        needs=("ContactId", "LastUpdateTimestamp"),
        sql="""
SELECT
    contactid,
    count(*) AS times,
    min(lastupdatetimestamp) AS first_update,
    max(lastupdatetimestamp) AS last_update,
    date_diff(
        'second',
        from_iso8601_timestamp(min(lastupdatetimestamp)),
        from_iso8601_timestamp(max(lastupdatetimestamp))
    ) AS seconds_between
FROM {table}
WHERE {days}
GROUP BY contactid
HAVING count(*) > 1
ORDER BY times DESC, contactid""",
    ),
    SavedQuery(
        name="Newest of each contact",
        about="One row a contact: what Connect sent last, of some days only; the view looks at all of them",
        kind=Kind.CONTACT_RECORD,
        needs=("ContactId", "LastUpdateTimestamp"),
        sql=f"SELECT * FROM {_NEWEST}\nWHERE nth = 1",
    ),
    SavedQuery(
        name="Agent state durations",
        about="How long each agent was in each state: from a change of state to the next one",
        kind=Kind.AGENT_EVENT,
        needs=("EventId", "AgentARN", "EventTimestamp", "CurrentAgentSnapshot.AgentStatus.Name"),
        sql="""
SELECT
    agentarn,
    state,
    count(*) AS times,
    round(sum(date_diff('millisecond', began, ended)) / 1000.0, 1) AS seconds
FROM (
    SELECT
        agentarn,
        currentagentsnapshot.agentstatus.name AS state,
        from_iso8601_timestamp(eventtimestamp) AS began,
        lead(from_iso8601_timestamp(eventtimestamp)) OVER (PARTITION BY agentarn ORDER BY eventtimestamp) AS ended
    FROM (
        SELECT *, row_number() OVER (PARTITION BY eventid ORDER BY "$path") AS nth
        FROM {table}
        WHERE {days}
    )
    WHERE nth = 1
)
WHERE state IS NOT NULL AND ended IS NOT NULL
GROUP BY agentarn, state
ORDER BY agentarn, seconds DESC""",
    ),
    SavedQuery(
        name="Sentiment of segments",
        about="Turns of each participant by sentiment, of the segments that have a transcript",
        kind=Kind.CONTACT_LENS_SEGMENT,
        needs=("ContactId", "Segments"),
        sql="""
SELECT
    contactid,
    element_at(segments, place).transcript.participantrole AS participant,
    element_at(segments, place).transcript.sentiment AS sentiment,
    count(*) AS turns
FROM {table}
CROSS JOIN UNNEST(sequence(1, cardinality(segments))) AS places(place)
WHERE {days} AND cardinality(segments) > 0 AND element_at(segments, place).transcript.id IS NOT NULL
GROUP BY 1, 2, 3
ORDER BY contactid, participant, turns DESC""",
    ),
)  # fmt: skip


def queries_for(kind: Kind, columns: Mapping[str, Tree]) -> Iterator[SavedQuery]:
    """Yield the saved queries that a table of these columns can answer."""
    for query in SAVED_QUERIES:
        if query.kind is kind and all(_has(columns, name.split(".")) for name in query.needs):
            yield query


def sql_of(query: SavedQuery, table: str) -> str:
    """Return a query's SQL on a table, over the last seven days."""
    return query.sql.strip().format(table=table, days=_ANY_DAY) + "\n"


def latest_sql(kind: Kind, columns: Mapping[str, Tree], table: str) -> str | None:
    """Return the SQL of the view of the newest version of each record; None if nothing tells versions apart.

    Connect sends a contact again, whole, whenever it is updated. Of two with the same second the one in the later object
    is newer: names of objects sort by arrival and first sequence number. Inside one object Athena does not see the order of
    lines; which of two with the same second it takes is undefined. An agent event never changes: it only comes again.
    """
    order = {
        Kind.CONTACT_RECORD: ("ContactId", 'lastupdatetimestamp DESC, "$path" DESC', "LastUpdateTimestamp"),
        Kind.AGENT_EVENT: ("EventId", 'eventtimestamp DESC, "$path" DESC', "EventTimestamp"),
    }.get(kind)
    if order is None or not {order[0], order[2]} <= columns.keys():
        return None
    names = ", ".join(f'"{name}"' for name in (*(name.lower() for name in columns), "day"))
    return (
        f"SELECT {names}\nFROM (\n    SELECT *, row_number() OVER (PARTITION BY {order[0].lower()} ORDER BY {order[1]}) AS nth\n"
        f"    FROM {table}\n)\nWHERE nth = 1\n"
    )


def _has(tree: Mapping[str, Tree], path: list[str]) -> bool:
    name, *rest = path
    if name not in tree:
        return False
    return not rest or _has(cast("Mapping[str, Tree]", tree[name]), rest)
