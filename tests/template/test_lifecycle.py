"""Lifecycle rules follow `retain_days`, and nothing expires that no line of the table names."""

from doctor.resolve import Resolver
from infrastructure.blocks.lifecycle import expiration
from local.translate import translated
from tests.builders import ROUTES, table


def test_each_place_with_days_has_a_rule() -> None:
    text = ROUTES.replace('prefix = "claims"\n', 'prefix = "claims"\nretain_days = 400\n')
    days = "[retain_days]\ndead_letters = 90\non_failure = 60\narchive = 30\n"
    assert [
        (rule["Id"], rule["Prefix"], rule["ExpirationInDays"]) for rule in expiration(table(f"{text}\n{days}"))
    ] == [
        ("ExpireRouteClaims", "claims/", 400),
        ("ExpireDeadLetters", "dead-letter/", 90),
        ("ExpireOnFailure", "aws/lambda/", 60),
        ("ExpireArchive", "archive/", 30),
    ]


def test_shipped_bucket_expires_old_versions_only() -> None:
    bucket = Resolver(translated(), {}).resources()["Bucket"]["Properties"]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert [rule["Id"] for rule in rules if "ExpirationInDays" in rule] == []
    assert rules[0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
