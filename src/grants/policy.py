"""What would AWS say? IAM's evaluation of identity and resource policies, with a third answer: unknown.

The doctor reads policies of a live account and says which statement is missing. Where a condition looks at
something that only AWS knows, e.g. the caller's address, the answer is `MAYBE` and not a guess.
`tests/grants` holds it against two independent engines on every row of the matrix.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Any

type Policy = Mapping[str, Any]
type Statement = Mapping[str, Any]


class Answer(IntEnum):
    """Three-valued: `min` is and, `max` is or."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as AWS sees it.

    Attributes:
        principal: The ARN of the calling role or user, or a service's name.
        action: e.g. `kms:Decrypt`.
        resource: An ARN.
        account: The account that owns the resource.
        context: The condition keys that the request carries; what is not in it is absent. None for a key that is absent
            for certain, although only AWS could know it: that of a VPC, for a caller that is in none.
    """

    principal: str
    action: str
    resource: str
    account: str
    context: Mapping[str, str | Sequence[str] | None] = field(default_factory=dict)

    @property
    def is_service(self) -> bool:
        """True if an AWS service calls by itself."""
        return not self.principal.startswith("arn:")

    @cached_property
    def whole_context(self) -> Mapping[str, str | Sequence[str] | None]:
        """The context with what AWS adds to every request of this caller, by lower-case names."""
        added: dict[str, str | Sequence[str] | None] = {
            "aws:principalarn": self.principal,
            "aws:resourceaccount": self.account,
            "aws:securetransport": "true",
        }
        if not self.is_service:
            added |= dict.fromkeys(("aws:principalaccount", "kms:calleraccount"), self.principal.split(":")[4])
        return added | {name.lower(): value for name, value in self.context.items()}

    @property
    def is_of_account(self) -> bool:
        """True if the caller and the resource belong to the same account."""
        return self.principal.split(":")[4:5] == [self.account]


EVERYTHING: Policy = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
"""AdministratorAccess."""
EVERYBODY: Policy = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
"""A resource policy that leaves every choice to the caller's policies."""


def default_key_policy(account: str) -> Policy:
    """Return what a key has whose creator says nothing: IAM decides.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    root = {"AWS": f"arn:aws:iam::{account}:root"}
    statement = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


_ROOT = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:root")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")

# Keys whose values only AWS knows: a condition on one that is absent here cannot be decided.
_UNKNOWABLE = re.compile(
    r"aws:(source(ip|vpc|vpce|identity)|vpcsourceip|principal(org|tag|type|isaws|service).*|userid|username|useragent|"
    r"(request|resource)tag/.*|resourceorg.*|currenttime|epochtime|tokenissuetime|multifactor.*|calledvia.*|"
    r"viaawsservice|requestedregion|referer|ec2.*)"
)


def decide(request: Request, identity: Iterable[Policy], resource: Policy | None, *limits: Policy) -> Answer:
    """Decide a request.

    Args:
        request: Who asks for what.
        identity: The policies of the caller.
        resource: The policy of the resource; None if it has none.
        limits: Permissions boundaries: each has to allow as well.
    """
    own = [one for policy in identity for one in _about(request, policy)]
    theirs = [] if resource is None else _about(request, resource)
    narrowing = [_about(request, limit) for limit in limits]
    denied = max(
        _matching(own, "Deny", request, by_name=None),
        _matching(theirs, "Deny", request, by_name=False),
        *(_matching(limit, "Deny", request, by_name=None) for limit in narrowing),
    )
    if denied is Answer.YES:
        return Answer.NO
    # A boundary narrows what a resource allows to a role by name, too.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    within = min((_matching(limit, "Allow", request, by_name=None) for limit in narrowing), default=Answer.YES)
    by_identity = _matching(own, "Allow", request, by_name=None)
    allowed = min(within, _combined(request, by_identity, theirs, has_policy=resource is not None))
    return min(allowed, Answer.MAYBE) if denied is Answer.MAYBE else allowed


def _about(request: Request, policy: Policy) -> list[Statement]:
    """Return the statements that name the action; all others decide nothing."""
    action = request.action.lower()
    return [one for one in statements(policy) if _listed(one, "Action", action, lower=True)]


def _combined(request: Request, by_identity: Answer, theirs: list[Statement], *, has_policy: bool) -> Answer:
    """Combine what the caller's and the resource's policies allow.

    In one account either suffices, but a key's policy (and a role's trust) has to let in as well: by name, or
    by its account, which leaves the choice to IAM. Across accounts both have to allow.
    """
    by_name = _matching(theirs, "Allow", request, by_name=True)
    by_account = _matching(theirs, "Allow", request, by_name=False)
    if request.is_service:
        return by_name
    if not request.is_of_account:
        return min(by_identity, by_account)
    if has_policy and request.action.startswith(("kms:", "sts:")):
        return max(by_name, min(by_identity, by_account))
    return max(by_name, by_identity)


def statements(policy: Policy) -> Iterator[Statement]:
    """Return the statements of a policy; one alone may stand without a list."""
    found = policy.get("Statement", [])
    yield from [found] if isinstance(found, Mapping) else found


def principals(one: Statement) -> list[str]:
    """Return the AWS principals that a statement names."""
    principal = one.get("Principal", {})
    return [principal] if isinstance(principal, str) else list(_listing(principal.get("AWS", [])))


def read_policy(text: str | Policy) -> Policy:
    """Read a policy as an API returns it, as text or parsed."""
    parsed: Policy = json.loads(text) if isinstance(text, str) else text
    return parsed


def matching_statements(request: Request, policy: Policy | None, effect: str) -> list[Statement]:
    """Return the statements of a policy that certainly decide a request so."""
    found = () if policy is None else statements(policy)
    return [one for one in found if _matching([one], effect, request, by_name=_naming(one)) is Answer.YES]


def nearly_matching(request: Request, policy: Policy) -> list[Statement]:
    """Return the statements that would allow a request but for a condition; two that are not met are about something else."""
    return [
        one
        for one in statements(policy)
        if _matching([{**one, "Condition": {}}], "Allow", request, by_name=_naming(one)) is Answer.YES
        and _unmet(one, request) <= 1
    ]


def _unmet(one: Statement, request: Request) -> int:
    """Return how many conditions of a statement a request does not meet."""
    single = (
        {**one, "Condition": {operator: {key: values}}}
        for operator, keys in one.get("Condition", {}).items()
        for key, values in keys.items()
    )
    return sum(_matching([each], "Allow", request, by_name=_naming(one)) is Answer.NO for each in single)


def _naming(one: Statement) -> bool | None:
    """Return False for a statement of a resource policy, which names principals; None for one of an identity policy."""
    return False if "Principal" in one or "NotPrincipal" in one else None


def _matching(found: list[Statement], effect: str, request: Request, *, by_name: bool | None) -> Answer:
    """Return True if any statement matches.

    Args:
        found: Statements.
        effect: Only those.
        request: The request.
        by_name: None for identity policies; True to count principals only that name the caller itself.
    """
    answers = (_match(one, request, by_name=by_name) for one in found if one["Effect"] == effect)
    return max(answers, default=Answer.NO)


def _match(statement: Statement, request: Request, *, by_name: bool | None) -> Answer:
    if not _listed(statement, "Action", request.action.lower(), lower=True):
        return Answer.NO
    context = request.whole_context
    fits = (by_name is None or _names(statement, request, by_name=by_name)) and _listed(
        _filled_in(statement, context), "Resource", request.resource
    )
    return _conditions(statement.get("Condition", {}), context) if fits else Answer.NO


def _filled_in(statement: Statement, context: Mapping[str, str | Sequence[str] | None]) -> Statement:
    """Return a statement whose resources have their policy variables filled in; an unknown value matches any."""
    changed = {
        name: [_substituted(entry, context) or "*" for entry in _listing(statement[name])]
        for name in ("Resource", "NotResource")
        if "${" in str(statement.get(name, ""))
    }
    return {**statement, **changed} if changed else statement


def _substituted(text: str, context: Mapping[str, str | Sequence[str] | None]) -> str | None:
    """Fill in policy variables; None if one is not known.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    special = {"*": "*", "?": "?", "$": "$"}
    named = {name: context.get(name.lower(), special.get(name)) for name in _VARIABLE.findall(text)}
    if not all(isinstance(value, str) for value in named.values()):
        return None
    return _VARIABLE.sub(lambda match: str(named[match[1]]), text)


def _names(statement: Statement, request: Request, *, by_name: bool) -> bool:
    if "NotPrincipal" in statement:
        return not _is_named(statement["NotPrincipal"], request, by_name=True)
    return _is_named(statement.get("Principal", {}), request, by_name=by_name)


def _is_named(principal: object, request: Request, *, by_name: bool) -> bool:
    if principal == "*":
        return True
    if not isinstance(principal, Mapping):
        return False
    if request.is_service:
        return request.principal in _listing(principal.get("Service", [])) or "*" in _listing(principal.get("AWS", []))
    account = request.principal.split(":")[4]
    names = _listing(principal.get("AWS", []))
    if not by_name and any(name == account or (_ROOT.fullmatch(name) and account in name) for name in names):
        return True
    return any(name in {"*", request.principal} for name in names)


def _listed(statement: Statement, element: str, value: str, *, lower: bool = False) -> bool:
    """Match `Action` or `Resource`, or what `NotAction` or `NotResource` leaves."""
    if element not in statement and f"Not{element}" not in statement:
        return True  # a role's trust names no resource: it is the role's
    patterns = _listing(statement.get(element, statement.get(f"Not{element}", [])))
    found = any(like(pattern.lower() if lower else pattern, value) for pattern in patterns)
    return found != (f"Not{element}" in statement)


def _conditions(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | Sequence[str] | None]
) -> Answer:
    answers = [
        _condition(operator, key.lower(), [str(value) for value in _listing(values, text=False)], context)
        for operator, keys in conditions.items()
        for key, values in keys.items()
    ]
    return min(answers, default=Answer.YES)


def _condition(operator: str, key: str, wanted: list[str], context: Mapping[str, str | Sequence[str] | None]) -> Answer:
    """Decide one condition.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    given = context.get(key)
    filled = [_substituted(value, context) for value in wanted]
    if None in filled:
        return Answer.MAYBE
    wanted = [value for value in filled if value is not None]
    if key not in context and _UNKNOWABLE.fullmatch(key):
        return Answer.MAYBE
    if operator == "Null":
        return _answer((given is None) == (wanted[0].lower() == "true"))
    base = operator.removesuffix("IfExists")
    test = _TESTS.get(base)
    if test is None or (given is not None and not isinstance(given, str)):
        return Answer.MAYBE  # numbers, dates, addresses, sets: not what grants of this kind are bound by
    is_negated = "Not" in base
    if given is None:
        return _answer(is_negated or base != operator)
    return _answer(any(test(value, given) for value in wanted) != is_negated)


def like(pattern: str, value: str) -> bool:
    """Match with `*` and `?`, as IAM does."""
    return _compiled(pattern).fullmatch(value) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def _equal(wanted: str, given: str) -> bool:
    return wanted == given


def _equal_ignoring_case(wanted: str, given: str) -> bool:
    return wanted.lower() == given.lower()


_TESTS = {
    "StringEquals": _equal,
    "StringNotEquals": _equal,
    "StringEqualsIgnoreCase": _equal_ignoring_case,
    "StringNotEqualsIgnoreCase": _equal_ignoring_case,
    "StringLike": like,
    "StringNotLike": like,
    "ArnEquals": like,
    "ArnNotEquals": like,
    "ArnLike": like,
    "ArnNotLike": like,
    "Bool": _equal_ignoring_case,
}


def _answer(holds: bool) -> Answer:
    return Answer.YES if holds else Answer.NO


def _listing(value: Any, *, text: bool = True) -> list[Any]:  # noqa: ANN401 - JSON
    """Return a value that may stand alone or in a list as a list."""
    return value if isinstance(value, list) else [value] if not text or isinstance(value, str) else []
