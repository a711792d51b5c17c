"""The tables of a stack in the Glue catalog: do they still lead to its bucket?"""

from collections.abc import Iterator

from doctor.account import Account, MissingError
from doctor.finding import Finding, fail
from doctor.live_stack import LiveStack


def check_catalog(account: Account, live: LiveStack) -> Iterator[Finding]:
    """Check the database and where its tables lead; nothing if the stack has no tables.

    A table that leads elsewhere shows an analyst what somebody else wrote, as if it had been delivered.
    """
    database, bucket = live.resources.get("Database"), live.resources.get("Bucket", "")
    if not database:
        return
    try:
        tables = account.pages("glue", "get_tables", "TableList", DatabaseName=database)
    except MissingError:
        yield fail(
            "DatabaseMissing", database, seen="the Glue database does not exist", expected="the tables of the stack",
            cure=live.revert(),
        )  # fmt: skip
        return
    for table in tables or []:
        locations = {
            table.get("StorageDescriptor", {}).get("Location", ""),
            table.get("Parameters", {}).get("storage.location.template", ""),
        } - {""}
        elsewhere = sorted(one for one in locations if not one.startswith(f"s3://{bucket}/"))
        if elsewhere:
            yield fail(
                "TableElsewhere", f"{database}.{table['Name']}", seen=f"the table leads to {elsewhere[0]}",
                expected=f"s3://{bucket}/...", cure=live.revert(),
            )  # fmt: skip
