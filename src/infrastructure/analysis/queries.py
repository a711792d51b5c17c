"""Views and saved queries, in Athena's SQL; `tests/analysis` runs each on delivered objects.

A table has one column, `record`: a line as it was delivered. Views read its fields, by their exact spelling, so that no
SerDe's habits matter: docs/adr/0010-analysis.md.

Source: https://docs.aws.amazon.com/athena/latest/ug/functions-env3.html
Source: https://trino.io/docs/current/functions/json.html
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from routing.model import Kind
from routing.table.partition import HOUR
from schema.columns import INTEGER, JSON, STRING, Column, Tree, flat

LINE = "record"
_ANY_DAY = (
    "day BETWEEN date_format(current_date - INTERVAL '6' DAY, '%Y-%m-%d') AND date_format(current_date, '%Y-%m-%d')"
)
# Two texts of one instant may differ: `...31Z` and `...31.000Z`, or another offset. What is no time comes last.
_UPDATED = "TRY(from_iso8601_timestamp(last_update_timestamp))"
_NEWEST_FIRST = f"{_UPDATED} DESC NULLS LAST, last_update_timestamp DESC, object DESC, line DESC"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedQuery:
    """A query that analysts find in their workgroup.

    Attributes:
        name: For people.
        about: What its rows are.
        kind: Of which records.
        needs: Fields, dotted, without which there is no such query: a route's rules may have taken them out.
        sql: With `{table}`, and `{days}` for the days to look at: the last seven, by the UTC date of the partition.
    """

    name: str
    about: str
    kind: Kind
    needs: tuple[str, ...]
    sql: str


_NEWEST = f"""
(
    SELECT *, row_number() OVER (PARTITION BY contact_id ORDER BY {_NEWEST_FIRST}) AS nth
    FROM {{table}}
    WHERE {{days}}
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
    queue_name,
    count(*) AS enqueued,
    count_if(agent_connected_to_agent_timestamp IS NULL) AS abandoned,
    round(100.0 * count_if(agent_connected_to_agent_timestamp IS NULL) / count(*), 1) AS abandoned_percent,
    approx_percentile(CAST(queue_duration AS double), 0.5) AS median_wait_seconds
FROM{_NEWEST}
WHERE nth = 1 AND queue_enqueue_timestamp IS NOT NULL
GROUP BY day, queue_name
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
    queue_name,
    channel,
    count(*) AS handled,
    round(avg(
        coalesce(agent_agent_interaction_duration, 0)
        + coalesce(agent_customer_hold_duration, 0)
        + coalesce(agent_after_contact_work_duration, 0)
    ), 1) AS average_handle_seconds,
    round(avg(coalesce(agent_after_contact_work_duration, 0)), 1) AS average_after_contact_seconds
FROM{_NEWEST}
WHERE nth = 1 AND agent_connected_to_agent_timestamp IS NOT NULL
GROUP BY queue_name, channel
ORDER BY handled DESC, queue_name, channel""",
    ),
    SavedQuery(
        name="Re-emissions",
        about="Contacts that Connect has sent more than once, and how long after the first time the last one came",
        kind=Kind.CONTACT_RECORD,
        needs=("ContactId", "LastUpdateTimestamp"),
        sql=f"""
SELECT
    contact_id,
    count(*) AS times,
    min_by(last_update_timestamp, updated) AS first_update,
    max_by(last_update_timestamp, updated) AS last_update,
    date_diff('second', min(updated), max(updated)) AS seconds_between
FROM (
    SELECT contact_id, last_update_timestamp, {_UPDATED} AS updated
    FROM {{table}}
    WHERE {{days}}
)
GROUP BY contact_id
HAVING count(*) > 1
ORDER BY times DESC, contact_id""",
    ),
    SavedQuery(
        name="Newest of each contact",
        about="One row a contact: what Connect sent last, of some days only; the view has all days and columns",
        kind=Kind.CONTACT_RECORD,
        needs=(
            "ContactId", "LastUpdateTimestamp", "Channel", "InitiationMethod", "Queue.Name", "DisconnectTimestamp",
            "DisconnectReason",
        ),
        sql=f"""
SELECT
    day, contact_id, last_update_timestamp, channel, initiation_method, queue_name, disconnect_timestamp,
    disconnect_reason, object
FROM{_NEWEST}
WHERE nth = 1""",
    ),
    SavedQuery(
        name="Agent state durations",
        about="How long each agent was in each state where the agent worked: from a change of state to the next one",
        kind=Kind.AGENT_EVENT,
        needs=(
            "EventId", "AgentARN", "EventTimestamp", "CurrentAgentSnapshot.AgentStatus.Name",
            "CurrentAgentSnapshot.AgentCrossRegionRoutingConfiguration.CurrentRegion",
        ),
        # With Global Resiliency the Region where an agent does not work gets logins and logouts as well; there no state
        # begins, but one that began before ends.
        sql="""
SELECT
    agent_arn,
    state,
    count(*) AS times,
    round(sum(date_diff('millisecond', began, ended)) / 1000.0, 1) AS seconds
FROM (
    SELECT
        agent_arn,
        current_agent_snapshot_agent_status_name AS state,
        coalesce(working_in, split_part(agent_arn, ':', 4)) = split_part(agent_arn, ':', 4) AS works_here,
        happened AS began,
        lead(happened) OVER (PARTITION BY agent_arn ORDER BY happened, event_id) AS ended
    FROM (
        SELECT
            agent_arn,
            event_id,
            current_agent_snapshot_agent_status_name,
            current_agent_snapshot_agent_cross_region_routing_configuration_current_region AS working_in,
            TRY(from_iso8601_timestamp(event_timestamp)) AS happened,
            row_number() OVER (PARTITION BY event_id ORDER BY object, line) AS nth
        FROM {table}
        WHERE {days}
    )
    WHERE nth = 1 AND happened IS NOT NULL
)
WHERE state IS NOT NULL AND ended IS NOT NULL AND works_here
GROUP BY agent_arn, state
ORDER BY agent_arn, seconds DESC""",
    ),
    SavedQuery(
        name="Sentiment of segments",
        about="Turns of each participant by sentiment, of the segments that have a transcript",
        kind=Kind.CONTACT_LENS_SEGMENT,
        needs=("ContactId", "Segments"),
        sql="""
SELECT
    contact_id,
    json_extract_scalar(segment, '$.Transcript.ParticipantRole') AS participant,
    json_extract_scalar(segment, '$.Transcript.Sentiment') AS sentiment,
    count(*) AS turns
FROM {table}
CROSS JOIN UNNEST(TRY_CAST(json_extract(record, '$.Segments') AS array(json))) AS parts(segment)
WHERE {days} AND json_extract_scalar(segment, '$.Transcript.Id') IS NOT NULL
GROUP BY 1, 2, 3
ORDER BY contact_id, participant, turns DESC""",
    ),
)  # fmt: skip


def queries_for(kind: Kind, columns: Mapping[str, Tree]) -> Iterator[SavedQuery]:
    """Yield the saved queries that a view of these columns can answer."""
    for query in SAVED_QUERIES:
        if query.kind is kind and all(_has(columns, name.split(".")) for name in query.needs):
            yield query


def sql_of(query: SavedQuery, view: str) -> str:
    """Return a query's SQL on a view, over the last seven days."""
    return query.sql.strip().format(table=view, days=_ANY_DAY) + "\n"


def view_sql(columns: Mapping[str, Tree], lines: str, folders: Iterable[str] = ()) -> str:
    """Return the SQL of the view that reads the columns from the lines.

    `object` is the S3 object, whose name sorts by arrival; the number of a line in it only columns know. A value of another type than the schema says is NULL here, and
    as it came in `record`. `folders` names what the route's objects stand in below the date.
    """
    shown = ",\n    ".join(("day", *map(folder_column, folders)))
    read = "".join(f"    {_read(column)} AS {column.name},\n" for column in flat(columns))
    number = "CAST(NULL AS integer) AS line"
    return f'SELECT\n{read}    {LINE},\n    "$path" AS object,\n    {number},\n    {shown}\nFROM {lines}\n'


def until_sql(until: str) -> str:
    """Return the SQL of the last day whose columns are complete; no day before the first."""
    return f"(SELECT coalesce(max(until), '') FROM {until})"


def all_sql(columns: Mapping[str, Tree], view: str, folders: Iterable[str], *, bucket: str, until: str) -> str:
    """Return the SQL of the view of all records: columns up to a day, lines behind it, so that each line is there once.

    Args:
        columns: Of the route and kind.
        view: Its name; `<view>_json` reads lines, `<view>_parquet` is the table of columns.
        folders: What objects stand in below the date.
        bucket: What comes before the name of an object, e.g. `s3://bucket`.
        until: The SQL of the last day whose columns are complete.
    """
    names = list(view_columns(columns, folders))
    arrays = {column.name: column for column in flat(columns) if column.is_array}
    read = {"object": f"concat('{bucket}/', \"_object\") AS object", "line": '"_line" AS line'}
    read |= {name: f"{_read(column)} AS {name}" for name, column in arrays.items()}
    of_columns = ", ".join(read.get(name, name) for name in names)
    return (
        f"SELECT {of_columns}\nFROM {view}_parquet\nWHERE day <= {until}\nUNION ALL\n"
        f"SELECT {', '.join(names)}\nFROM {view}_json\nWHERE day > {until}\n"
    )


def lines_sql(shown: Iterable[str], view: str) -> str:
    """Return the SQL of the view of all records where there are lines only."""
    return f"SELECT {', '.join(shown)}\nFROM {view}_json\n"


def latest_sql(kind: Kind, columns: Mapping[str, Tree], view: str, folders: Iterable[str] = ()) -> str | None:
    """Return the SQL of the view of the newest version of each record; None if nothing tells versions apart.

    Connect sends a contact again, whole, whenever it is updated. Of two of the same instant the one in the later object
    is newer: names of objects sort by arrival and first sequence number. Inside one object Athena does not see the order of
    lines, unless they are columns; which of two with the same text it takes is undefined then. An agent event never changes: it only comes again.
    """
    order = {
        Kind.CONTACT_RECORD: ("contact_id", "last_update_timestamp", _NEWEST_FIRST),
        Kind.AGENT_EVENT: ("event_id", "event_timestamp", "object, line"),
    }.get(kind)
    names = view_columns(columns, folders)
    if order is None or not set(order[:2]) <= set(names):
        return None
    shown = ", ".join(names)
    return (
        f"SELECT {shown}\nFROM (\n    SELECT *, row_number() OVER (PARTITION BY {order[0]} ORDER BY {order[2]}) AS nth\n"
        f"    FROM {view}\n)\nWHERE nth = 1\n"
    )


def view_columns(columns: Mapping[str, Tree], folders: Iterable[str] = ()) -> dict[str, Column]:
    """Return the columns of a view by name, in its order."""
    added = [Column(LINE, (), STRING), Column("object", (), STRING), Column("line", (), INTEGER)]
    added += [Column(name, (), STRING) for name in ("day", *map(folder_column, folders))]
    return {column.name: column for column in (*flat(columns), *added)}


def folder_column(folder: str) -> str:
    """Return the column that tells a folder below the date; a record's own field of that name is another column."""
    return folder if folder == HOUR else f"partition_{folder}"


def _read(column: Column) -> str:
    path = "".join(f'["{name}"]' if not name.isidentifier() else f".{name}" for name in column.path)
    if column.type == JSON:
        return f"nullif(json_format(json_extract({LINE}, '${path}')), 'null')"
    scalar = f"json_extract_scalar({LINE}, '${path}')"
    return scalar if column.type == STRING else f"TRY_CAST({scalar} AS {column.type})"


def _has(tree: Mapping[str, Tree], path: list[str]) -> bool:
    name, *rest = path
    if name not in tree:
        return False
    return not rest or _has(cast("Mapping[str, Tree]", tree[name]), rest)
