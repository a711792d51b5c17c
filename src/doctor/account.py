"""A live account, read only: every answer once, and what may not be read becomes a finding, not a crash."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from doctor.finding import Finding, unknown
from grants.policy import (
    Answer,
    Policy,
    Request,
    Statement,
    decide,
    like,
    matching_statements,
    principals,
    read_policy,
    statements,
)

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403")
_MISSING = (
    "NotFound", "404", "EntityNotFoundException", "NoSuchBucket", "NoSuchEntity", "NotFoundException", "ResourceNotFoundException",
    "NoSuchBucketPolicy", "ServerSideEncryptionConfigurationNotFoundError", "ValidationError",
    "NoSuchLifecycleConfiguration", "ReplicationConfigurationNotFoundError", "NoSuchPublicAccessBlockConfiguration",
    "InvalidParameterException",  # Connect, of a resource type that the Region does not have
)  # fmt: skip
# IAM calls some actions otherwise than the API calls the operation.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
IAM_SERVICES = {"monitoring": "cloudwatch"}
IAM_NAMES = {
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
}
_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})


class MissingError(Exception):
    """The thing that was asked for does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A KMS key. `policy` and `grants` are None if they cannot be read.

    Attributes:
        arn: Its ARN.
        state: e.g. `Enabled`, `Disabled`, `PendingDeletion`.
        is_customers: False for a key that AWS manages.
        policy: Its key policy.
        grants: Its grants, as `ListGrants` tells them.
        is_replica: It rotates with its primary key in another Region.
    """

    arn: str
    state: str
    is_customers: bool
    policy: Policy | None
    grants: list[dict[str, Any]] | None
    is_replica: bool = False

    @property
    def id(self) -> str:
        """The id in its ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def account(self) -> str:
        """The account that owns it."""
        return self.arn.split(":")[4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role and everything that IAM lets it do.

    Attributes:
        arn: Its ARN.
        policies: Attached and inline ones; None if they may not be read.
        boundary: Its permissions boundary.
        trust: Who may take it.
    """

    arn: str
    trust: Policy
    policies: list[Policy] | None
    boundary: Policy | None


class Account:
    """Reads one account and Region."""

    def __init__(self, session: boto3.Session) -> None:
        """Bind a session; `identify` finds its account."""
        self._session = session
        self._clients: dict[tuple[str, str], Any] = {}
        self._answers: dict[str, Any] = {}
        self.unreadable: list[Finding] = []

    @property
    def region(self) -> str:
        """The Region."""
        return str(self._session.region_name)

    @property
    def partition(self) -> str:
        """The partition, e.g. `aws` or `aws-us-gov`."""
        return str(self._caller["Arn"]).split(":")[1]

    def identify(self) -> str:
        """Return the account's id.

        Raises:
            ClientError, BotoCoreError: There are no working credentials.
        """
        return str(self._caller["Account"])

    @cached_property
    def _caller(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client("sts").get_caller_identity()
        return found

    def ask(self, service: str, operation: str, **parameters: Any) -> Any:  # noqa: ANN401 - one shape per operation
        """Call a read-only operation, once.

        Args:
            service: e.g. `kms`.
            operation: In boto3's spelling, e.g. `get_key_policy`.
            parameters: Its parameters.

        Returns:
            The answer; None if it may not be read, which becomes a finding.

        Raises:
            MissingError: What is asked for does not exist.
        """
        memory = json.dumps([service, operation, parameters], sort_keys=True)
        if memory not in self._answers:
            self._answers[memory] = self._call(service, operation, parameters)
        answer = self._answers[memory]
        if isinstance(answer, MissingError):
            raise answer
        return answer

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any] | None:  # noqa: ANN401
        """Call a read-only operation that answers in pages; None if it may not be read."""
        client = self._client(service, parameters)
        if not client.can_paginate(operation):
            answer = self.ask(service, operation, **parameters)
            return None if answer is None else list(answer.get(key, []))
        try:
            return [
                item for page in client.get_paginator(operation).paginate(**parameters) for item in page.get(key, [])
            ]
        except (ClientError, BotoCoreError) as err:
            refused = self._refused(client, operation, parameters, err)
            if isinstance(refused, MissingError):
                raise refused from err
            return None

    def key(self, key_id: str) -> Key | None:
        """Read a key by id, ARN or alias; None if not even its state may be read.

        Raises:
            MissingError: There is no such key.
        """
        described = self.ask("kms", "describe_key", KeyId=key_id)
        if described is None:
            return None
        metadata = described["KeyMetadata"]
        arn = metadata["Arn"]
        owner = arn.split(":")[4]
        is_foreign = owner != self.identify()
        if is_foreign:
            self.unreadable += [unknown(
                "KeyOfAnotherAccount", arn, seen=f"it belongs to {owner}, and only there its policy and grants can be read",
                cure=f"as {owner}: aws kms get-key-policy --key-id {arn}; it has to admit whoever uses the key here",
            )]  # fmt: skip
        policy = None if is_foreign else self.ask("kms", "get_key_policy", KeyId=arn, PolicyName="default")
        return Key(
            arn=arn,
            state=metadata["KeyState"],
            is_customers=metadata.get("KeyManager", "CUSTOMER") == "CUSTOMER",
            is_replica=metadata.get("MultiRegionConfiguration", {}).get("MultiRegionKeyType") == "REPLICA",
            policy=None if policy is None else read_policy(policy["Policy"]),
            grants=None if is_foreign else self.pages("kms", "list_grants", "Grants", KeyId=arn),
        )

    def role(self, arn: str) -> Role | None:
        """Read a role and its policies; None if it may not be read.

        Raises:
            MissingError: There is no such role.
        """
        name = arn.rpartition("/")[2]
        found = self.ask("iam", "get_role", RoleName=name)
        if found is None:
            return None
        limit = found["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        return Role(
            arn=found["Role"]["Arn"],
            trust=read_policy(found["Role"]["AssumeRolePolicyDocument"]),
            policies=self._policies(name),
            boundary=self.managed_policy(limit) if limit else None,
        )

    def _policies(self, role: str) -> list[Policy] | None:
        attached = self.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
        inline = self.pages("iam", "list_role_policies", "PolicyNames", RoleName=role)
        if attached is None or inline is None:
            return None
        documents = [self.managed_policy(one["PolicyArn"]) for one in attached]
        for name in inline:
            found = self.ask("iam", "get_role_policy", RoleName=role, PolicyName=name)
            documents.append(None if found is None else read_policy(found["PolicyDocument"]))
        known = [document for document in documents if document is not None]
        return known if len(known) == len(documents) else None

    def managed_policy(self, arn: str) -> Policy | None:
        """Return the default version of a managed policy; None if it may not be read."""
        try:
            found = self.ask("iam", "get_policy", PolicyArn=arn)
            if found is None:
                return None
            version = found["Policy"]["DefaultVersionId"]
            document = self.ask("iam", "get_policy_version", PolicyArn=arn, VersionId=version)
        except MissingError:
            return {"Statement": []}  # removed meanwhile: it allows nothing any more
        return None if document is None else read_policy(document["PolicyVersion"]["Document"])

    def _call(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401
        client = self._client(service, parameters)
        try:
            return getattr(client, operation)(**parameters)
        except (ClientError, BotoCoreError) as err:
            return self._refused(client, operation, parameters, err)

    def _refused(
        self,
        client: Any,  # noqa: ANN401
        operation: str,
        parameters: Mapping[str, Any],
        err: Exception,
    ) -> MissingError | None:
        """Distinguish a resource that does not exist from one that may not be read; note the latter."""
        code = err.response["Error"]["Code"] if isinstance(err, ClientError) else type(err).__name__
        if code in _MISSING:
            return MissingError(code)
        api_name = client.meta.method_to_api_mapping[operation]
        signing_name = client.meta.service_model.signing_name
        action = f"{IAM_SERVICES.get(signing_name, signing_name)}:{IAM_NAMES.get(api_name, api_name)}"
        subject = next((str(value) for value in parameters.values()), "")
        is_denied = code in _DENIED
        cure = f"allow yourself {action} (docs/doctor.md has the whole policy)" if is_denied else "run it again later"
        self.unreadable.append(unknown("NotReadable", subject, seen=f"{action} answers {code}", cure=cure))
        return None

    def _client(self, service: str, parameters: Mapping[str, Any] = MappingProxyType({})) -> Any:  # noqa: ANN401
        """Return a client; a key is asked for in the Region that its ARN names."""
        key = str(parameters.get("KeyId", ""))
        region = key.split(":")[3] if key.startswith("arn:") else self.region
        if (service, region) not in self._clients:
            make: Any = self._session.client
            options = {} if region == self.region else {"region_name": region}
            self._clients[service, region] = make(service, config=_CONFIG, **options)
        return self._clients[service, region]


def may(role: Role, action: str, key: Key, context: Mapping[str, str]) -> Answer:
    """Return True if a role may use a key, by policies or by a grant."""
    if key.policy is None or role.policies is None:
        return Answer.MAYBE
    if denials(role, action, key, context):
        return Answer.NO
    request = Request(principal=role.arn, action=action, resource=key.arn, account=key.account, context=context)
    limits = [] if role.boundary is None else [role.boundary]
    by_policy = decide(request, role.policies, key.policy, *limits)
    by_grant = Answer.YES if any(grants_of(key, role.arn, action, context)) else Answer.NO
    return max(by_policy, Answer.MAYBE if key.grants is None else by_grant)


def denials(role: Role, action: str, key: Key, context: Mapping[str, str]) -> list[Statement]:
    """Return the statements that deny a role the use of a key, whatever else allows it."""
    request = Request(principal=role.arn, action=action, resource=key.arn, account=key.account, context=context)
    limits = [] if role.boundary is None else [role.boundary]
    policies = (key.policy, *(role.policies or []), *limits)
    return [one for policy in policies for one in matching_statements(request, policy, "Deny")]


def grants_of(key: Key, principal: str, action: str, context: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Return the grants that let a principal use a key.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
    """
    operation = action.partition(":")[2]
    for grant in key.grants or []:
        constraints = grant.get("Constraints", {})
        wanted = {**constraints.get("EncryptionContextEquals", {}), **constraints.get("EncryptionContextSubset", {})}
        is_bound_elsewhere = any(
            context.get(f"kms:EncryptionContext:{name}") != value for name, value in wanted.items()
        )
        if grant.get("GranteePrincipal") == principal and operation in grant["Operations"] and not is_bound_elsewhere:
            yield grant


def deleted_principal(policy: Policy, action: str = "kms:GenerateDataKey") -> str | None:
    """Return the unique id of a deleted role that a policy still lets call an action, if any.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    named = (
        name
        for one in statements(policy)
        if one["Effect"] == "Allow" and re.search(rf"{action}|\*", str(one.get("Action")))
        for name in principals(one)
    )
    return next((name for name in named if like("AROA*", name)), None)
