"""A stack as CloudFormation describes it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStack:
    """What CloudFormation says about a stack.

    Attributes:
        name: Of the stack.
        parameters: As it was deployed.
        resources: Physical ids by logical id.
    """

    name: str
    parameters: Mapping[str, str]
    resources: Mapping[str, str]
