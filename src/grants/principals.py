"""Who asks: the roles of the stack, its readers, its administrators, and those who have no business here."""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass, field
from typing import Literal

from grants.stack import Stack
from routing.table.routes import Route

# Which identity policies a caller has: those of the stack, AdministratorAccess, one that lets it assume any role, or none.
type Policies = Literal["of the stack", "everything", "assuming", "none"]

OTHER_ACCOUNT = "444455556666"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        label: For people, e.g. `function`; what `ctr-fanout grants --for` takes.
        arn: The session that calls, or a service's name.
        policies: Which identity policies count.
        role: The ARN of the role; empty for a service.
        context: What every request of it carries.
    """

    label: str
    arn: str
    policies: Policies
    role: str = ""
    context: Mapping[str, str] = field(default_factory=dict)

    def given_everything(self) -> "Principal":
        """Return it with AdministratorAccess attached, by mistake or malice: do the resources still hold?"""
        return replace(self, label=f"{self.label} + AdministratorAccess", policies="everything")

    def given_nothing(self) -> "Principal":
        """Return it without its own policies: do the resources let it in by themselves?"""
        return replace(self, label=f"{self.label} - its policies", policies="none")


class Principals:
    """The callers of one stack."""

    def __init__(self, stack: Stack) -> None:
        """Name them."""
        self._stack = stack
        function = stack.roles["fan-out"]
        source = {"lambda:SourceFunctionArn": stack.here("lambda", f"function:{stack.name}")}
        # https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html
        self.function = Principal("function", stack.session(function), "of the stack", function, source)
        self.lambda_service = Principal("lambda", stack.session(function), "of the stack", function)
        self.replay = self._of_stack("replay")
        self.erase = self._of_stack("erase")
        self.convert = self._of_stack("convert")
        self.archive = self._of_stack("archive")
        connect = f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role/connect.amazonaws.com/Connect_x"
        self.connect = Principal("connect", stack.session(connect), "none", connect)
        self.other_connect = self._role("another instance's connect", "Connect_other", "none")
        self.administrator = self._role("administrator", "Administrator", "everything")
        self.operator = self._role("replay operator", "ReplayOperator", "assuming")
        self.stranger = self._role("stranger", "Stranger", "everything", OTHER_ACCOUNT)
        self.auditor = self._role("auditor", "Auditor", "of the stack")
        self.anonymous = Principal("anonymous", "anonymous", "none")

    def reader(self, route: str) -> Principal:
        """Return the reader of a route: named by its parameter, with the route's policies attached."""
        return self._role(f"reader of {route}", f"ReaderOf-{route}", "of the stack")

    def sealed_reader(self, route: Route) -> Principal:
        """Return who opens what a route seals: named by its parameter, with the policy for it attached."""
        return self._role(f"sealed reader of {route.name}", f"ReaderOf-{route.seal_key}", "of the stack")

    def analyst(self, route: str) -> Principal:
        """Return a role that an administrator has given the query policy of a route, and nothing else."""
        return self._role(f"analyst of {route}", f"AnalystOf-{route}", "of the stack")

    def service(self, name: str) -> Principal:
        """Return an AWS service."""
        return Principal(name, f"{name}.amazonaws.com", "none")

    def _of_stack(self, name: str) -> Principal:
        role = self._stack.roles[name]
        return Principal(name, self._stack.session(role), "of the stack", role)

    def _role(self, label: str, name: str, policies: Policies, account: str = "") -> Principal:
        role = f"arn:{self._stack.partition}:iam::{account or self._stack.account}:role/{name}"
        return Principal(label, self._stack.session(role), policies, role)
