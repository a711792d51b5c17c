"""A proxy between the deployed function and the emulator that lets chosen requests go wrong.

The function finds it as its endpoint; everybody else talks to the emulator itself.
"""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from local.deployment import Deployed
from local.emulator import Emulator

type Fault = Literal["throttle", "error", "no request", "no answer", "slow", "key disabled", "kill", "late kill"]
"""What happens to a request.

`throttle` and `error` are answered by the service; `no request` and `no answer` lose one half of it; `slow` takes
a while; `key disabled` is S3's answer when KMS refuses; `kill` ends the function before the request reaches the
service, `late kill` after it.
"""

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9]+)/aws4_request")
_SECONDS_OF_SLOWNESS = 0.4
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the function.

    Attributes:
        service: e.g. `s3`.
        method: e.g. `PUT`.
        path: The object, or `/`.
    """

    service: str
    method: str
    path: str


@contextmanager
def fault_proxy(emulator: Emulator, decide: Callable[[Request], Fault | None]) -> Iterator[str]:
    """Run a proxy and yield its URL.

    Args:
        emulator: What is behind it.
        decide: What happens to a request; None passes it on.
    """
    server = _Server(emulator, decide)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://{emulator.host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def let_claims_run_out(emulator: Emulator, deployed: Deployed) -> None:
    """Let the two minutes pass for which a killed invocation may hold its shard."""
    dynamodb, table = emulator.client("dynamodb"), deployed.resources["CheckpointTable"]
    for row in dynamodb.scan(TableName=table)["Items"]:
        if "claim_until" in row:
            dynamodb.update_item(
                TableName=table,
                Key={"shard": row["shard"]},
                UpdateExpression="SET claim_until = :past",
                ExpressionAttributeValues={":past": {"N": "0"}},
            )


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match = _SERVICE.search(self.headers.get("Authorization", ""))
        request = Request(match[1] if match else "", self.command, self.path.partition("?")[0])
        fault = self.server.decide(request)
        if fault == "slow":
            time.sleep(_SECONDS_OF_SLOWNESS)
        if fault == "kill":
            self.server.emulator.kill_workers()
        if fault in {"no request", "kill"}:
            self._hang_up()
        elif fault in {"throttle", "error", "key disabled"}:
            self._answer(*_answer(fault, request.service))
        else:
            answer = self._forward(body)
            if fault == "late kill":
                self.server.emulator.kill_workers()
            if fault in {"no answer", "late kill"}:
                self._hang_up()
            else:
                self._answer(*answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - names of the standard library

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.emulator.host, self.server.emulator.port, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            if self.command == "HEAD":
                return answer.status, answer.getheaders(), b""
            return answer.status, answer.getheaders(), content
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, emulator: Emulator, decide: Callable[[Request], Fault | None]) -> None:
        super().__init__((emulator.host, 0), _Handler)
        self.emulator = emulator
        self.decide = decide


def _answer(fault: Fault, service: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, headers and body as the service would answer."""
    if service == "s3":
        code, status = {"throttle": ("SlowDown", 503), "key disabled": ("KMS.DisabledException", 400)}.get(
            fault, ("InternalError", 500)
        )
        body = f"<Error><Code>{code}</Code><Message>fault</Message></Error>".encode()
        return status, [("Content-Type", "application/xml")], body
    code, status = (
        ("ProvisionedThroughputExceededException", 400) if fault == "throttle" else ("InternalServerError", 500)
    )
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "fault"}).encode()
    return status, [("Content-Type", "application/x-amz-json-1.0")], body
