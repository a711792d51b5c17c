"""The objects that an erasure or a search looks into: one version each, read and opened."""

import gzip
import zlib
from collections.abc import Callable, Mapping
from copy import replace
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from aws.bucket import Bucket, ObjectGoneError
from aws.inventory import Listed
from routing.errors import CtrFanoutError
from routing.layout import HANDED_OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One object, or an old version of one.

    Attributes:
        listed: Its name and when it was put.
        id: The version; None for the current one.
    """

    listed: Listed
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What became of one object that holds a contact.

    Attributes:
        key: The object.
        version: The id of an old version; empty for the current one.
        route: Where its records belong.
        records: Records of the contacts that are gone, or would be.
        entries: Parts of other records, as of an agent event's snapshot, that are gone, or would be.
        mentions: Records of others that still name a contact.
        blocked_by: Why something of a contact is still there; empty if nothing is, or would be.
        found: The contacts that it holds.
    """

    key: str
    version: str = ""
    route: str = ""
    records: int = 0
    entries: int = 0
    mentions: int = 0
    blocked_by: str = ""
    found: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object as it was read."""

    lines: list[bytes]
    metadata: Mapping[str, str]
    etag: str
    version: str


def opened(bucket: Bucket, version: Version) -> OpenedObject:
    """Read an object; a batch that Lambda gave up on is one line.

    Raises:
        ClientError: It cannot be read.
        ObjectGoneError: It is gone.
        OSError: It is not gzip.
    """
    got = bucket.get(version.listed.key, version.id)
    is_batch = version.listed.key.startswith(HANDED_OVER)
    lines = [got.body] if is_batch else gzip.decompress(got.body).splitlines()
    return OpenedObject(lines, got.metadata, got.etag, got.version)


def reporting(version: Version, do: Callable[[], Erasure | None]) -> Erasure | None:
    """Turn an error of one object into the reason why it is left, so that the others are erased."""
    try:
        return do()
    except ObjectGoneError:
        return None
    except ClientError as err:
        code = err.response["Error"]["Code"]
        if code in {"NoSuchKey", "NoSuchVersion"}:  # removed between our read and our change
            return None
        blocked_by = f"{err.operation_name} failed with {code}"
    except CtrFanoutError as err:
        blocked_by = str(err)
    except BotoCoreError as err:
        blocked_by = type(err).__name__
    except (OSError, EOFError, zlib.error, ValueError, RecursionError, AttributeError, TypeError) as err:
        got = type(err).__name__
        blocked_by = f"expected what ctr-fanout or Lambda puts here, got {got}; look at it by hand"
    return replace(of_version(version), blocked_by=blocked_by)


def of_version(version: Version) -> Erasure:
    """Return the outcome of an object in which nothing was found."""
    return Erasure(key=version.listed.key, version=version.id or "")
