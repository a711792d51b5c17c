"""The `unseal` command: objects in, the records as they were before they were sealed out.

It streams line by line; what it writes appears under its name when all of it is there, or not at all.
"""

import gzip
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from aws.encryption_sdk import Opener
from cli.failures import is_about_login
from routing.protection.sealing import (
    BOUND_TO_CONTACT,
    BOUND_TO_KIND,
    BOUND_TO_ROUTE,
    BOUND_TO_STACK,
    SealError,
    contact_of,
    detach,
    restore,
    unpack,
)
from routing.stored.parts import is_of_columns

_S3 = "s3://"
_COMPRESSED = ".gz"


class UnsealError(Exception):
    """Something cannot be read, opened or written: where, and what to do."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One object or file to unseal.

    Attributes:
        name: For messages.
        path: Below the target, without `.gz`.
        opens: Opens its bytes.
    """

    name: str
    path: str
    opens: Callable[[], AbstractContextManager[IO[bytes]]]


def sources(given: str, s3: Callable[[], Any]) -> Iterator[Sealed]:
    """Return what a source names: a file, a folder, `s3://<bucket>/<key>`, or `s3://<bucket>/<prefix>/`.

    Args:
        given: The source.
        s3: Makes the client, if one is needed.

    Raises:
        UnsealError: There is nothing, or it may not be read.
    """
    found = list(_in_s3(given, s3) if given.startswith(_S3) else _on_disk(Path(given)))
    if not found:
        raise UnsealError(f"{given}: expected objects with lines, found none")
    yield from found


def unseal(sealed: Sealed, opener: Opener, stack: str, target: Path | None) -> tuple[int, int]:
    """Unseal one object; return how many lines it has, and how many of them were sealed.

    Args:
        sealed: The object.
        opener: Opens messages.
        stack: The stack that sealed them.
        target: The folder to write to; None writes to standard output, once all of it is open.

    Raises:
        UnsealError: A line cannot be opened; nothing is written.
    """
    lines = opened = 0
    bound: dict[str, str] = {BOUND_TO_STACK: stack}
    with _written(sealed, target) as out:
        try:
            with sealed.opens() as raw:
                stream = gzip.GzipFile(fileobj=raw) if sealed.name.endswith(_COMPRESSED) else raw
                for line in stream:
                    lines += 1
                    record, was_sealed = unseal_line(line.rstrip(b"\n"), opener, bound)
                    opened += was_sealed
                    out.write(record + b"\n")
        except SealError as err:
            raise UnsealError(f"{sealed.name}, line {lines}: {err}") from None
        except ClientError as err:
            if is_about_login(err):
                raise
            raise UnsealError(f"{sealed.name}, line {lines}: {_refused(err)}") from None
        except (ValueError, IndexError, KeyError, TypeError):  # what these say may quote the line
            message = f"{sealed.name}, line {lines}: expected a JSON object, as it was delivered, got {len(line)} bytes of something else"
            raise UnsealError(message) from None
        except RecursionError:
            raise UnsealError(f"{sealed.name}, line {lines}: nested too deeply to be opened here") from None
        except (OSError, EOFError, zlib.error, BotoCoreError) as err:
            raise UnsealError(f"{sealed.name}, after line {lines}: reading failed with {type(err).__name__}") from None
    return lines, opened


def unseal_line(line: bytes, opener: Opener, bound: dict[str, str]) -> tuple[bytes, bool]:
    """Return a record as it was before it was sealed, and whether it was.

    Args:
        line: Of an object.
        opener: Opens messages.
        bound: What the messages of the object are bound to, but for their contacts; the first one tells the rest.

    Raises:
        SealError: Its message is damaged, or belongs to another record.
        ClientError: KMS refuses.
    """
    seen, message = detach(line)
    if message is None:
        return line, False
    text, context = opener.open_sealed(message)
    if context.get(BOUND_TO_CONTACT) != contact_of(seen):
        raise SealError("expected the sealed message of this contact, got that of another")
    for name in (BOUND_TO_STACK, BOUND_TO_ROUTE, BOUND_TO_KIND):
        if bound.setdefault(name, context.get(name, "")) != context.get(name):
            raise SealError(f"expected a message of one {name.rpartition(':')[2]}, got one of another")
    return restore(seen, unpack(text)), True


def _in_s3(given: str, s3: Callable[[], Any]) -> Iterator[Sealed]:
    bucket, _, key = given.removeprefix(_S3).partition("/")
    client = s3()
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    except ClientError as err:
        if is_about_login(err):
            raise
        raise UnsealError(f"{given}: {_refused(err)}") from None

    def opens(name: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
        return lambda: nullcontext(cast("IO[bytes]", client.get_object(Bucket=bucket, Key=name)["Body"]))

    for name in keys:
        is_asked = name == key or not key or key.endswith("/")
        is_lines = not (name.rpartition("/")[2].startswith("_") or is_of_columns(name))  # `_`: the grant check's own
        if is_asked and is_lines:
            yield Sealed(f"{_S3}{bucket}/{name}", name.removesuffix(_COMPRESSED), opens(name))


def _on_disk(given: Path) -> Iterator[Sealed]:
    if not given.exists():
        raise UnsealError(f"{given}: no such file or folder")
    files = sorted(path for path in given.rglob("*") if path.is_file()) if given.is_dir() else [given]
    top = given if given.is_dir() else given.parent
    for path in files:
        if not is_of_columns(path.as_posix()):
            yield Sealed(str(path), str(path.relative_to(top)).removesuffix(_COMPRESSED), partial(_open, path))


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


@contextmanager
def _written(sealed: Sealed, target: Path | None) -> Iterator[IO[bytes]]:
    """Write to a place of its own first; it takes its name when all of it is there."""
    if target is None:
        with tempfile.TemporaryFile() as out:
            yield out
            out.seek(0)
            shutil.copyfileobj(out, sys.stdout.buffer)
        return
    path = target / sealed.path
    if target.resolve() not in path.resolve().parents:
        raise UnsealError(f"{sealed.name}: expected a name below the target")
    if path.exists():
        raise UnsealError(f"{path}: expected nothing there yet; give another --to")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".unseal-")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def _refused(err: ClientError) -> str:
    code = err.response["Error"]["Code"]
    cure = "; name this role in SealedReadersOf<Route> and deploy" if err.operation_name == "Decrypt" else ""
    return f"{err.operation_name} refused with {code}{cure}"
