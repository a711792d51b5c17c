"""Rows of the matrix as cases that policy engines decide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grants.bindings import everybody
from grants.policy import EVERYTHING, Policy, default_key_policy
from grants.row import DEFAULT_KEY_POLICY, NAMED_ELSEWHERE, NO_BUCKET_POLICY, OPEN_BUCKET_POLICY, Row
from local.policies import DENIALS, Attached, Deployed

_OPEN: Policy = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
}


_ASSUMING: Policy = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}],
}


@dataclass(frozen=True, slots=True)
class Case:
    """One action of a row, with the policies that decide it, as places in `Cases.policies`.

    `besides` is the place of a policy whose statements the resource's has besides.
    """

    row: Row
    action: str
    identity: tuple[int, ...]
    resource_policy: int | None
    besides: int | None = None

    @property
    def context(self) -> dict[str, Any]:
        """What the request carries, and what AWS adds about its caller."""
        who = self.row.who
        added = {"aws:PrincipalArn": who.role, "aws:PrincipalAccount": who.role.split(":")[4]} if who.role else {}
        return {**added, **who.context, **self.row.request.context}


class Cases:
    """All cases of one stack."""

    def __init__(self, deployed: Deployed, rows: Sequence[Row]) -> None:
        """Find the policies of each row."""
        self.deployed = deployed
        self.attached = deployed.policies
        loose = default_key_policy(deployed.stack.account)
        self.policies: list[Policy] = [*(one.document for one in self.attached), EVERYTHING, loose, _OPEN, _ASSUMING]
        self._everything, self._loose, self._open, self._assuming = (len(self.attached) + more for more in range(4))
        self.cases = [case for row in rows for case in self._of(row)]
        self.met_by: dict[int, list[int]] = {place: [] for place in range(len(self.policies))}
        for index, case in enumerate(self.cases):
            for place in {*case.identity, case.resource_policy}:
                if place is not None:
                    self.met_by[place].append(index)
        callers = {row.who.role: row.who for row in rows if row.who.role and row.who.policies == "none"}
        mine = {role for one in deployed.policies for role in one.roles}
        self.outsiders = sorted(set(callers) - mine)
        self.writers = [who.role for who in everybody(deployed.stack)]

    def _of(self, row: Row) -> Iterator[Case]:
        for action in row.request.actions:
            besides = self._open if row.assuming == OPEN_BUCKET_POLICY else None
            yield Case(row, action, self._identity(row), self._resource_policy(row), besides)

    def _identity(self, row: Row) -> tuple[int, ...]:
        if row.who.policies == "everything":
            return (self._everything,)
        if row.who.policies == "assuming":
            return (self._assuming,)
        if row.who.policies == "none":
            return ()
        # What is denied has to be denied without the policy that only denies as well, but for what that is there for.
        is_bare = not row.is_allowed and row.assuming != NAMED_ELSEWHERE
        return tuple(
            i
            for i, one in enumerate(self.attached)
            if row.who.role in one.roles and not (is_bare and one.name == DENIALS)
        )

    def _resource_policy(self, row: Row) -> int | None:
        resource = row.request.resource
        if row.assuming == DEFAULT_KEY_POLICY:
            return self._loose
        if row.assuming == NO_BUCKET_POLICY:
            return None
        if row.assuming == NAMED_ELSEWHERE:
            return self._open
        if not self.deployed.stack.makes_stream_key and resource == self.deployed.stack.keys["stream"]:
            return self._loose  # an existing key: its policy is not ours
        return next((i for i, one in enumerate(self.attached) if _carries(one, resource)), None)


def _carries(policy: Attached, resource: str) -> bool:
    return bool(policy.resource) and (resource == policy.resource or resource.startswith(f"{policy.resource}/"))
