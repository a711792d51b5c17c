"""The lifecycle rules of the bucket: how long delivered objects, dead letters, given-up batches and the archive stay."""

from routing import layout
from routing.table.routes import RouteTable, logical_id


def expiration(table: RouteTable) -> list[dict[str, object]]:
    """Return a rule for each prefix whose objects expire; old versions go by the rule of the whole bucket.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
    """
    kept = [(f"Route{logical_id(route.name)}", route.prefix, route.retain_days) for route in table.routes]
    kept += [
        ("DeadLetters", layout.DEAD_LETTER_PREFIX, table.retain_days.dead_letters),
        ("OnFailure", layout.HANDED_OVER_PREFIX, table.retain_days.on_failure),
        ("Archive", layout.ARCHIVE_PREFIX, table.retain_days.archive),
    ]
    return [
        {"Id": f"Expire{name}", "Status": "Enabled", "Prefix": f"{prefix}/", "ExpirationInDays": days}
        for name, prefix, days in kept
        if days is not None
    ]
