"""What AWS would say: the rules that the grant matrix has no row for, and where nobody outside can know."""

from typing import Any

import pytest

from grants.policy import EVERYTHING, Answer, Policy, Request, decide

ROLE = "arn:aws:iam::111122223333:role/r"
KEY = "arn:aws:kms:ap-northeast-1:111122223333:key/k"
ROOT = {"AWS": "arn:aws:iam::111122223333:root"}


def policy(**one: Any) -> Policy:
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", **one}
    return {"Statement": {name: value for name, value in statement.items() if value is not None}}


def ask(action: str = "kms:Decrypt", resource: str = KEY, principal: str = ROLE, **context: str) -> Request:
    keys = {name.replace("_", ":"): value for name, value in context.items()}
    return Request(principal=principal, action=action, resource=resource, account="111122223333", context=keys)


def given(condition: dict[str, dict[str, object]], **context: str) -> Answer:
    return decide(ask(**context), [policy(Condition=condition)], policy(Principal=ROOT))


def test_key_that_names_the_role_needs_no_policy_of_the_role() -> None:
    assert decide(ask(), [], policy(Principal={"AWS": ROLE})) is Answer.YES
    assert decide(ask(), [], policy(Principal=ROOT)) is Answer.NO
    assert decide(ask(), [policy()], policy(Principal=ROOT)) is Answer.YES
    assert decide(ask(), [policy()], policy(Principal={"AWS": ["111122223333"]})) is Answer.YES
    assert decide(ask(), [policy()], policy(Principal={"AWS": "arn:aws-us-gov:iam::111122223333:root"})) is Answer.YES


def test_caller_of_another_account_needs_both() -> None:
    stranger = "arn:aws:iam::444455556666:role/r"
    theirs = policy(Principal={"AWS": stranger})
    assert decide(ask(principal=stranger), [], theirs) is Answer.NO
    assert decide(ask(principal=stranger), [policy()], theirs) is Answer.YES
    assert decide(ask(principal=stranger), [policy()], policy(Principal=ROOT)) is Answer.NO


def test_boundary_narrows_what_a_key_allows_by_name_and_its_denial_counts() -> None:
    named = policy(Principal={"AWS": ROLE})
    assert decide(ask(), [], named, policy(Action="s3:*")) is Answer.NO
    assert decide(ask(), [], named, EVERYTHING) is Answer.YES
    both = {
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "kms:*", "Resource": "*"},
        ]
    }
    assert decide(ask(), [policy()], policy(Principal=ROOT), both) is Answer.NO


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ({"NotAction": "iam:*", "Action": None}, Answer.YES),
        ({"NotAction": "kms:*", "Action": None}, Answer.NO),
        ({"NotResource": "arn:aws:s3:::*", "Resource": None}, Answer.YES),
        ({"NotResource": KEY, "Resource": None}, Answer.NO),
        ({"Action": ["KMS:decrypt"]}, Answer.YES),
        ({"Resource": KEY.upper()}, Answer.NO),
        ({"Resource": "arn:aws:kms:*:${aws:PrincipalAccount}:key/?"}, Answer.YES),
    ],
)
def test_elements_of_a_statement(one: dict[str, Any], expected: Answer) -> None:
    assert decide(ask(), [policy(**one)], policy(Principal=ROOT)) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"kms:ViaService": "s3"}}, Answer.YES),
        ({"StringEquals": {"KMS:viaservice": ["x", "s3"]}}, Answer.YES),
        ({"StringNotEquals": {"kms:ViaService": ["x", "s3"]}}, Answer.NO),
        ({"StringNotEquals": {"kms:Other": "x"}}, Answer.YES),
        ({"StringEquals": {"kms:Other": "x"}}, Answer.NO),
        ({"StringEqualsIfExists": {"kms:Other": "x"}}, Answer.YES),
        ({"StringEqualsIgnoreCase": {"kms:ViaService": "S3"}}, Answer.YES),
        ({"Null": {"kms:Other": "true", "kms:ViaService": "false"}}, Answer.YES),
        ({"Bool": {"aws:SecureTransport": True}}, Answer.YES),
        ({"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}}, Answer.YES),
        ({"StringEquals": {"kms:CallerAccount": "111122223333"}}, Answer.YES),
        ({"StringLike": {"kms:ViaService": "${*}"}}, Answer.YES),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, Answer.MAYBE),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, Answer.MAYBE),
        ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, Answer.MAYBE),
        ({"StringEquals": {"kms:ViaService": "${aws:PrincipalTag/team}"}}, Answer.MAYBE),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1", "kms:ViaService": "x"}}, Answer.NO),
    ],
)
def test_conditions(condition: dict[str, dict[str, object]], expected: Answer) -> None:
    assert given(condition, kms_ViaService="s3") is expected


def test_doubtful_denial_leaves_a_doubt_and_a_certain_one_does_not() -> None:
    doubt = {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}
    allowed = policy(Principal={"AWS": ROLE})
    assert decide(ask(), [policy(Effect="Deny", Condition=doubt)], allowed) is Answer.MAYBE
    assert decide(ask(), [policy(Effect="Deny")], allowed) is Answer.NO
    assert decide(ask("kms:Encrypt"), [policy(Effect="Deny", Condition=doubt)], allowed) is Answer.NO


def test_everybody_but_one_is_everybody_else() -> None:
    other = {"AWS": "arn:aws:iam::111122223333:role/other"}
    assert decide(ask(), [], policy(NotPrincipal=other)) is Answer.YES
    assert decide(ask(), [], policy(NotPrincipal={"AWS": ROLE})) is Answer.NO
    assert decide(ask(), [policy()], {"Statement": [policy(Principal=ROOT)["Statement"], {
        "Effect": "Deny", "NotPrincipal": other, "Action": "kms:*", "Resource": "*"}]}) is Answer.NO  # fmt: skip
