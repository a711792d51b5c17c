"""What docs/security.md shows: what is stored where, under which key, for how long."""

from routing.table.routes import RouteTable, logical_id

_OLD = "; old versions thirty days more"


def stored(table: RouteTable) -> str:
    """Return a table of every place that holds something of a record."""
    rows = ["| where | what | key | for how long |", "|---|---|---|---|"]
    rows.append(
        "| the stream | every record, as Connect sent it | `StreamKey`, or an existing one | `StreamRetentionHours` (14 days) |"
    )
    for route in table.routes:
        what = "as the route's rules leave it" if route.rules else "as Connect sent it"
        key = f"`{logical_id(route.name)}Key`" + (
            f", sealed fields `{logical_id(route.name)}SealKey`" if route.seals else ""
        )
        rows.append(f"| `{route.prefix}/` | {what} | {key} | {_kept(route.retain_days, 'until you delete it')} |")
    days = table.retain_days
    rows += [
        f"| `<prefix>/parquet/` (`Parquet`) | columns of the same lines | the key of the route | as long as the lines{_OLD} |",
        f"| `dead-letter/` | records that cannot be decoded, objects that a destination refused: unprotected | `DeadLetterKey` | {_kept(days.dead_letters, 'until a replay moves them')} |",
        f"| `aws/lambda/` | whole batches that Lambda gave up on: unprotected | `DeadLetterKey` | {_kept(days.on_failure, 'until a replay has delivered them')} |",
        f"| `archive/` (`ArchiveRawStream`) | every record, as Connect sent it | `ArchiveKey` | {_kept(days.archive, 'until you delete it')} |",
        "| the checkpoint table | sequence numbers and names of objects; no record | DynamoDB's own | 400 days after the shard's last record |",
        "| results of queries | what an analyst asked for | the key of query results | by Athena: 24 hours |",
        "| logs, metrics, alarms | counts, names of routes, reasons; no value of a record | CloudWatch's; the topic has a key of its own | `LogRetentionDays` |",
    ]
    return "\n".join(rows) + "\n"


def _kept(days: int | None, otherwise: str) -> str:
    return (otherwise if days is None else f"{days} days") + _OLD
