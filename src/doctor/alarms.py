"""The alarms of a stack: do they exist, do they act, and does anybody hear them?"""

from collections.abc import Iterator, Mapping
from typing import Any

from doctor.account import Account, MissingError
from doctor.finding import Finding, fail, statement, warn
from doctor.live_stack import LiveStack
from doctor.stream import check_key_state
from grants.policy import Answer, Request, decide, read_policy

_PUBLISHER = "cloudwatch.amazonaws.com"
_ENCRYPT = ("kms:Decrypt", "kms:GenerateDataKey")


def check_alarms(account: Account, live: LiveStack) -> Iterator[Finding]:
    """Check the alarms, the topic that they publish to, and its key."""
    yield from _check_actions(account, live)
    topic = live.resources.get("AlarmTopic") or live.parameters.get("AlarmTopicArn")
    if not topic:
        return
    try:
        found = account.ask("sns", "get_topic_attributes", TopicArn=topic)
    except MissingError:
        yield fail(
            "AlarmTopicMissing", topic, seen="the topic of the alarms does not exist: no alarm reaches anybody",
            expected="the topic", cure="create it again, or deploy with another AlarmTopicArn (docs/deploy.md)",
        )  # fmt: skip
        return
    if found is not None:
        yield from _check_topic(account, live, topic, found["Attributes"])


def _check_actions(account: Account, live: LiveStack) -> Iterator[Finding]:
    wanted = {name for logical, name in live.resources.items() if logical.endswith("Alarm")}
    if not wanted:
        return
    name = live.parameters.get("Name", live.name)
    plain = account.pages("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=f"{name} ")
    composite = account.pages(
        "cloudwatch", "describe_alarms", "CompositeAlarms", AlarmNamePrefix=f"{name} ", AlarmTypes=["CompositeAlarm"]
    )
    if plain is None or composite is None:
        return
    found = {one["AlarmName"]: one for one in (*plain, *composite)}
    missing = sorted(wanted - set(found))
    if missing:
        yield fail(
            "AlarmsMissing", name, seen=f"{len(missing)} alarms of the stack were deleted: {', '.join(missing)}",
            expected=f"{len(wanted)} alarms",
            cure=live.revert(),
        )  # fmt: skip
    silent = sorted(wanted & {name for name, one in found.items() if not one.get("ActionsEnabled", True)})
    if silent:
        named = " ".join(f"'{one}'" for one in silent)
        yield fail(
            "AlarmsSilenced", name, seen=f"the actions of {len(silent)} alarms are disabled", expected="enabled",
            cure=f"aws cloudwatch enable-alarm-actions --alarm-names {named}",
        )  # fmt: skip


def _check_topic(account: Account, live: LiveStack, topic: str, found: Mapping[str, Any]) -> Iterator[Finding]:
    subscriptions = account.pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
    if subscriptions is not None and all(one["SubscriptionArn"] == "PendingConfirmation" for one in subscriptions):
        yield warn(
            "AlarmsReachNobody", topic, seen="the topic of the alarms has no confirmed subscription",
            expected="somebody who is told", cure=f"aws sns subscribe --topic-arn {topic} --protocol email "
            "--notification-endpoint ADDRESS, and confirm what arrives",
        )  # fmt: skip
    publish = Request(
        principal=_PUBLISHER, action="sns:Publish", resource=topic, account=topic.split(":")[4],
        context={"aws:SourceArn": f"arn:{account.partition}:cloudwatch:{account.region}:{account.identify()}:alarm:"
                                  f"{live.parameters.get('Name', live.name)} late",
                 "aws:SourceAccount": account.identify()},
    )  # fmt: skip
    if found.get("Policy") and decide(publish, [], read_policy(found["Policy"])) is Answer.NO:
        yield fail(
            "AlarmTopicRefusesAlarms", topic, seen=f"the topic's policy does not let {_PUBLISHER} publish",
            expected="the alarms publish",
            cure=f"add to its policy: {statement('AlarmsPublish', _PUBLISHER, 'sns:Publish', topic)}",
        )  # fmt: skip
    yield from _check_key(account, topic, found.get("KmsMasterKeyId", ""))


def _check_key(account: Account, topic: str, key_id: str) -> Iterator[Finding]:
    """Check that an encrypted topic can take an alarm.

    Source: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    """
    if not key_id:
        return
    try:
        key = account.key(key_id)
    except MissingError:
        yield fail(
            "AlarmKeyMissing", key_id, seen="the key of the alarms' topic does not exist", expected="a key",
            cure=f"aws sns set-topic-attributes --topic-arn {topic} --attribute-name KmsMasterKeyId --attribute-value KEY_ARN",
        )  # fmt: skip
        return
    if key is None or key.policy is None:
        return
    yield from check_key_state(key, "AlarmKey", topic)
    for action in _ENCRYPT:
        request = Request(principal=_PUBLISHER, action=action, resource=key.arn, account=key.account)
        if decide(request, [], key.policy) is Answer.NO:
            yield fail(
                "AlarmKeyRefusesAlarms", key.arn, seen=f"the key policy does not let {_PUBLISHER} call {action}",
                expected="alarms are published under this key",
                cure=f"add to the policy of {key.arn}: {statement('AlarmsEncrypt', _PUBLISHER, list(_ENCRYPT), '*')}",
            )  # fmt: skip
            return
