"""Amazon Connect's API as far as the doctor asks it: real HTTP requests in, answers that its model allows out.

No emulator has Connect's storage configuration. This stands at the end of botocore's own serializer and in
front of its own parser: a request is found by method and path in the service model, and an answer that the
model does not allow is an error of the test.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.model import OperationModel
from botocore.validate import ParamValidator

type StorageConfig = dict[str, Any]


class _Raw:
    """What a response's body is read from."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_args: object, **_kwargs: object) -> list[bytes]:
        return [self._body]


@dataclass
class ConnectApi:
    """One Region of Amazon Connect.

    Attributes:
        instances: By id, as `DescribeInstance` tells them.
        storage: By instance id and resource type.
        denied: Operations that answer AccessDeniedException.
    """

    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    storage: dict[tuple[str, str], list[StorageConfig]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)

    def serve(self, session: boto3.Session) -> None:
        """Answer the session's requests to Connect."""
        model = session._session.get_service_model("connect")
        self._operations = [model.operation_model(name) for name in model.operation_names]
        events: Any = session.events
        events.register_first("before-send.connect.*", self._answer)

    def _answer(self, request: AWSPreparedRequest, **_kwargs: object) -> AWSResponse:
        url = urlsplit(request.url)
        operation, path = self._find(request.method or "", url.path)
        if operation.name in self.denied:
            return self._error(403, "AccessDeniedException", "not authorized")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        handler = getattr(self, f"_{operation.name}", None)
        assert handler, f"the doctor asks {operation.name}, which is not answered here"
        found = handler(
            path, json.loads(str(request.body, "utf-8")) if isinstance(request.body, bytes) and request.body else query
        )
        if found is None:
            return self._error(404, "ResourceNotFoundException", "no such instance")
        shape: Any = operation.output_shape
        if shape is not None:
            report = ParamValidator().validate(found, shape)
            assert not report.has_errors(), report.generate_report()
        return self._response(200, found, {})

    def _find(self, method: str, path: str) -> tuple[OperationModel, Mapping[str, str]]:
        for operation in self._operations:
            template = operation.http["requestUri"].partition("?")[0]
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
            match = re.fullmatch(pattern, path)
            if match and operation.http["method"] == method:
                return operation, {name: unquote(value) for name, value in match.groupdict().items()}
        raise AssertionError(f"no operation of Connect has {method} {path}")

    def _DescribeInstance(self, path: Mapping[str, str], _query: object) -> dict[str, Any] | None:  # noqa: N802
        found = self.instances.get(path["InstanceId"])
        return None if found is None else {"Instance": found}

    def _ListInstances(self, _path: object, _query: object) -> dict[str, Any]:  # noqa: N802
        return {"InstanceSummaryList": [{"Id": one["Id"], "Arn": one["Arn"]} for one in self.instances.values()]}

    def _ListInstanceStorageConfigs(  # noqa: N802
        self, path: Mapping[str, str], query: Mapping[str, str]
    ) -> dict[str, Any] | None:
        if path["InstanceId"] not in self.instances:
            return None
        return {"StorageConfigs": self.storage.get((path["InstanceId"], query["resourceType"]), [])}

    def _AssociateInstanceStorageConfig(self, path: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        place = path["InstanceId"], str(body["ResourceType"])
        assert not self.storage.get(place), "Connect takes one target per kind"
        self.storage[place] = [{"AssociationId": "new", **body["StorageConfig"]}]
        return {"AssociationId": "new"}

    def _DisassociateInstanceStorageConfig(self, path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:  # noqa: N802
        place = path["InstanceId"], query["resourceType"]
        self.storage[place] = [one for one in self.storage[place] if one["AssociationId"] != path["AssociationId"]]
        return {}

    def _error(self, status: int, code: str, message: str) -> AWSResponse:
        return self._response(status, {"Message": message}, {"x-amzn-ErrorType": code})

    @staticmethod
    def _response(status: int, body: Mapping[str, Any], headers: dict[str, str]) -> AWSResponse:
        raw = json.dumps(body, default=str).encode()
        made: Any = AWSResponse
        answer: AWSResponse = made(
            "https://connect", status, {"content-type": "application/json", **headers}, _Raw(raw)
        )
        return answer
