"""Saved queries of the functions' log, for CloudWatch Logs Insights.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-logs-querydefinition.html
"""

from typing import Any

from infrastructure.cfn_yaml import Ref, Sub, Text

# The name of each, and the query.
LOG_QUERIES = {
    "Failures": """
        fields @timestamp, route, reason, detail
        | filter message = "records did not reach their destination"
        | sort @timestamp desc
        | limit 100""",
    "Failures by route and reason": """
        filter message = "records did not reach their destination"
        | stats count(*) as failures, max(@timestamp) as last by route, reason
        | sort failures desc""",
    "Grant checks that failed": """
        fields @timestamp, route, reason, detail
        | filter message = "grant check failed"
        | sort @timestamp desc
        | limit 100""",
    "Batches to retry": """
        fields @timestamp, request_id, retry_from, records_received
        | filter message = "batch processed" and ispresent(retry_from)
        | sort @timestamp desc
        | limit 100""",
    "Who replayed and erased": """
        fields @timestamp, message, source, applies, records, found, left
        | filter message in ["replay", "erase"]
        | sort @timestamp desc
        | limit 100""",
    "Memory and duration": """
        filter @type = "REPORT"
        | stats max(@maxMemoryUsed / 1000 / 1000) as megabytes, max(@duration) as longest_ms by bin(5m)""",
}


def log_queries() -> dict[str, Any]:
    """The saved queries, in a folder of the stack's name."""
    return {
        f"{''.join(word.capitalize() for word in name.split())}LogQuery": {
            "Type": "AWS::Logs::QueryDefinition",
            "Condition": "IsOnAws",
            "Properties": {
                "Name": Sub(f"${{Name}}/{name}"),
                "LogGroupNames": [Ref("LogGroup")],
                "QueryString": Text("\n".join(line.strip() for line in query.strip().splitlines())),
            },
        }
        for name, query in LOG_QUERIES.items()
    }
