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

    def revert(self) -> str:
        """Return the command that puts everything back to the deployed template, nested stacks included.

        Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
        """
        kept = " ".join(f"ParameterKey={name},UsePreviousValue=true" for name in sorted(self.parameters))
        change = f"--stack-name {self.name} --change-set-name revert-drift"
        return (
            f"aws cloudformation create-change-set {change} --deployment-mode REVERT_DRIFT --use-previous-template "
            f"--include-nested-stacks --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --parameters {kept}; "
            f"aws cloudformation wait change-set-create-complete {change}; "
            f"aws cloudformation describe-change-set {change}; aws cloudformation execute-change-set {change}"
        )
