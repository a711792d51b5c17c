"""Resolve a template to what AWS sees: parameters, conditions and references filled in.

Only the intrinsic functions that template.yaml uses are known; another one is an error, not a guess.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing.lambda_event import ACCOUNT, REGION

type Template = Mapping[str, Any]

_NO_VALUE = object()
_ARNS = {
    "AWS::CloudWatch::Alarm": "arn:{partition}:cloudwatch:{here}:alarm:{AlarmName}",
    "AWS::CloudWatch::CompositeAlarm": "arn:{partition}:cloudwatch:{here}:alarm:{AlarmName}",
    "AWS::DynamoDB::Table": "arn:{partition}:dynamodb:{here}:table/{TableName}",
    "AWS::Events::Rule": "arn:{partition}:events:{here}:rule/{Name}",
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{id}",
    "AWS::KMS::Key": "arn:{partition}:kms:{here}:key/{id}",
    "AWS::Kinesis::Stream": "arn:{partition}:kinesis:{here}:stream/{Name}",
    "AWS::KinesisFirehose::DeliveryStream": "arn:{partition}:firehose:{here}:deliverystream/{DeliveryStreamName}",
    "AWS::Lambda::EventSourceMapping": "arn:{partition}:lambda:{here}:event-source-mapping:{id}",
    "AWS::Lambda::Function": "arn:{partition}:lambda:{here}:function:{FunctionName}",
    "AWS::Logs::LogGroup": "arn:{partition}:logs:{here}:log-group:{LogGroupName}:*",
    "AWS::S3::Bucket": "arn:{partition}:s3:::{BucketName}",
    "AWS::SNS::Topic": "arn:{partition}:sns:{here}:{TopicName}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stack is deployed."""

    partition: str = "aws"
    region: str = REGION
    account: str = ACCOUNT
    stack: str = "ctr-fanout"


EXAMPLE = Place()


class ResolveError(Exception):
    """The template uses something that is not known here."""


class Resolver:
    """Resolves one template with one set of parameters."""

    def __init__(
        self,
        template: Template,
        parameters: Mapping[str, str],
        *,
        arns: Mapping[str, str] | None = None,
        physical: Mapping[str, str] | None = None,
        place: Place = EXAMPLE,
    ) -> None:
        """Resolve parameters and conditions.

        Args:
            template: Plain CloudFormation.
            parameters: As `sam deploy` takes them: text, lists joined by commas.
            arns: Of resources that exist already, by logical id.
            physical: Physical ids of resources that exist already, by logical id.
            place: Where it is deployed.
        """
        self._arns = arns or {}
        self._physical = physical or {}
        self._place = place
        self._pseudo = {
            "AWS::AccountId": place.account,
            "AWS::Partition": place.partition,
            "AWS::Region": place.region,
            "AWS::StackName": place.stack,
            "AWS::URLSuffix": "amazonaws.com",
        }
        self._template = template
        self._parameters: dict[str, Any] = {}
        for name, declared in template["Parameters"].items():
            value = str(parameters.get(name, declared.get("Default", "")))
            is_list = declared["Type"] == "CommaDelimitedList"
            self._parameters[name] = [one.strip() for one in value.split(",")] if is_list else value
        self._known: dict[str, bool] = {}

    def resources(self) -> dict[str, Any]:
        """Return the resources whose condition holds, by logical id, with concrete properties."""
        return {
            name: {**resource, "Properties": self._resolve(resource.get("Properties", {}))}
            for name, resource in self._template["Resources"].items()
            if self._is_made(resource)
        }

    def properties(self, logical_id: str) -> dict[str, Any] | None:
        """Return the properties of one resource; None if the template does not make it.

        Raises:
            ResolveError: They use something that is not known here.
        """
        resource = self._template["Resources"].get(logical_id)
        if resource is None or not self._is_made(resource):
            return None
        found: dict[str, Any] = self._resolve(resource.get("Properties", {}))
        return found

    def _is_made(self, resource: Mapping[str, Any]) -> bool:
        return "Condition" not in resource or self._holds(resource["Condition"])

    def _holds(self, condition: str) -> bool:
        if condition not in self._known:
            self._known[condition] = bool(self._resolve(self._template["Conditions"][condition]))
        return self._known[condition]

    def arn(self, logical_id: str) -> str:
        """Return the ARN of a resource; keys get an invented id, the same each time."""
        if logical_id in self._arns:
            return self._arns[logical_id]
        resource = self._template["Resources"][logical_id]
        form = _ARNS.get(resource["Type"])
        if form is None:
            raise ResolveError(f"{logical_id}: the ARN of {resource['Type']} is not known here")
        names = {name: self._resolve(resource["Properties"][name]) for name in re.findall(r"{([A-Z]\w+)}", form)}
        invented = f"{logical_id.encode().hex():0<32.32}" if resource["Type"] == "AWS::KMS::Key" else logical_id
        where = self._place
        return form.format(
            partition=where.partition,
            here=f"{where.region}:{where.account}",
            account=where.account,
            id=self._physical.get(logical_id, invented),
            **names,
        )

    def function_arn(self, name: str) -> str:
        """Return the ARN of a function by its name."""
        where = self._place
        return f"arn:{where.partition}:lambda:{where.region}:{where.account}:function:{name}"

    def _resolve(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, list):
            elements = [self._resolve(element) for element in value]
            return [element for element in elements if element is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition":
                return self._holds(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        resolved = {name: self._resolve(below) for name, below in value.items()}
        return {name: below for name, below in resolved.items() if below is not _NO_VALUE}

    def _function(self, name: str, argument: Any) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912 - JSON; one line per function
        match name:
            case "GetAtt":
                logical_id, _, attribute = (argument if isinstance(argument, str) else ".".join(argument)).partition(
                    "."
                )
                self._require(logical_id)
                if attribute == "AssociationId":
                    return f"association-of-{logical_id}"  # only a tag says it
                if attribute != "Arn":
                    raise ResolveError(f"{logical_id}: the attribute {attribute} is not known here")
                return self.arn(logical_id)
            case "Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                filled = {name: str(self._resolve(value)) for name, value in own.items()}
                return re.sub(
                    r"\$\{([^}]+)\}",
                    lambda match: filled[match[1]] if match[1] in filled else self._substitute(match[1]),
                    text,
                )
            case "Base64":
                return base64.b64encode(self._resolve(argument).encode()).decode()
            case "Split":
                return self._resolve(argument[1]).split(argument[0])
            case "If":
                return self._resolve(argument[1] if self._holds(argument[0]) else argument[2])
            case "And":
                return all(self._resolve(argument))
            case "Equals":
                first, second = self._resolve(argument)
                return first == second
            case "Or":
                return any(self._resolve(argument))
            case "Not":
                return not self._resolve(argument)[0]
            case "Join":
                return str(argument[0]).join(self._resolve(argument[1]))
            case _:
                raise ResolveError(f"Fn::{name} is not known here")

    def _require(self, logical_id: str) -> None:
        """Refuse what CloudFormation would refuse: a reference to what is not made, or does not exist."""
        resource = self._template["Resources"].get(logical_id)
        if resource is None or not self._is_made(resource):
            raise ResolveError(f"{logical_id}: it is referred to, and not made with these parameters")

    def _substitute(self, name: str) -> str:
        return f"${{{name[1:]}}}" if name.startswith("!") else str(self._named(name))

    def _named(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return self._function("GetAtt", name) if "." in name else self._ref(name)

    def _ref(self, name: str) -> Any:  # noqa: ANN401, C901, PLR0911 - JSON; one line per type
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        self._require(name)
        if name in self._physical:
            return self._physical[name]
        match self._template["Resources"][name]:
            case {"Type": "AWS::IAM::Role"}:
                return name
            case {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": log_group}}:
                return self._resolve(log_group)
            case {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": alarm}}:
                return self._resolve(alarm)
            case {"Type": "AWS::Glue::Database", "Properties": {"DatabaseInput": {"Name": database}}}:
                return self._resolve(database)
            case {"Type": "AWS::Athena::WorkGroup", "Properties": {"Name": group}}:
                return self._resolve(group)
            case {"Type": "AWS::SNS::Topic"}:
                return self.arn(name)
        return re.split(r"[:/]", self.arn(name))[-1]
