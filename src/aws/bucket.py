"""The bucket of the stack: every request names it, and the account that has to own it."""

from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from msgspec import Struct

from routing.errors import CtrFanoutError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectRequestTypeDef,
        HeadObjectOutputTypeDef,
        PutObjectOutputTypeDef,
        PutObjectRequestTypeDef,
    )


_GONE = ("404", "NoSuchKey", "NoSuchVersion")
_DENIED = ("403", "AccessDenied")


class ObjectGoneError(CtrFanoutError):
    """An object that was listed is not there any more."""


class FetchedObject(Struct, frozen=True, kw_only=True):
    """An object as S3 returned it.

    Attributes:
        body: Its bytes, compressed as they are stored.
        metadata: Those of the user.
        etag: For a conditional request.
        key_arn: Of the KMS key that encrypts it; empty if S3 does not tell.
        version: Empty where the bucket keeps no versions.
    """

    body: bytes
    metadata: Mapping[str, str]
    etag: str
    key_arn: str
    version: str


class Bucket:
    """Reads, writes, lists and deletes objects. Errors are those of botocore, for the caller to classify.

    Of an object that is not there S3 says 404 only to who may list the whole bucket, and 403 to everybody else. Our
    roles may list their prefixes, so `get` and `look` list what is refused to tell the two apart.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """

    def __init__(self, client: "S3Client", name: str, owner: str) -> None:
        """Bind a client to a bucket.

        Args:
            client: Of S3.
            name: Of the bucket.
            owner: The account id; S3 refuses every request if another account owns the bucket.
        """
        self._client = client
        self._name = name
        self._owner = owner

    def get(self, key: str, version: str | None = None) -> FetchedObject:
        """Read an object, or one version of it.

        Raises:
            ObjectGoneError: It is not there.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        request: GetObjectRequestTypeDef = {"Bucket": self._name, "Key": key, "ExpectedBucketOwner": self._owner}
        if version is not None:
            request["VersionId"] = version
        try:
            answer = self._client.get_object(**request)
        except ClientError as err:
            if self._is_gone(err, key, version):
                raise ObjectGoneError(f"{key}: expected what was listed, but it is gone since; run it again") from None
            raise
        return FetchedObject(
            body=answer["Body"].read(),
            metadata=answer["Metadata"],
            etag=answer["ETag"],
            key_arn=answer.get("SSEKMSKeyId", ""),
            version=answer.get("VersionId", ""),
        )

    def has(self, key: str) -> bool:
        """Return True if an object has this name, by listing it."""
        return any(entry["Key"] == key for entry in self.list(key))

    def head(self, key: str) -> "HeadObjectOutputTypeDef":
        """Read the metadata of an object. It needs `s3:GetObject`, and no key."""
        return self._client.head_object(Bucket=self._name, Key=key, ExpectedBucketOwner=self._owner)

    def look(self, key: str) -> "HeadObjectOutputTypeDef | None":
        """Read the metadata of an object; None if it is not there. It needs `s3:ListBucket` as well.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        """
        try:
            return self.head(key)
        except ClientError as err:
            if self._is_gone(err, key, None):
                return None
            raise

    def put(
        self,
        key: str,
        body: "bytes | IO[bytes]",
        *,
        key_arn: str,
        metadata: Mapping[str, str],
        replaces: str | None = None,
        content_type: str = "application/gzip",
    ) -> None:
        """Put an object under a KMS key, if nothing exists under its name, or only what is to be replaced.

        Args:
            key: Its name.
            body: Its bytes.
            key_arn: Of the KMS key.
            metadata: Those of the user.
            replaces: The ETag of what it replaces; None if nothing may exist.
            content_type: Of the body.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        request: PutObjectRequestTypeDef = {
            "Bucket": self._name,
            "Key": key,
            "Body": body,
            "ExpectedBucketOwner": self._owner,
            "ServerSideEncryption": "aws:kms",
            "SSEKMSKeyId": key_arn,
            "BucketKeyEnabled": False,  # a Bucket Key would bind the encryption context to the bucket, not the object
            "ChecksumAlgorithm": "SHA256",
            "ContentType": content_type,
            "Metadata": metadata,
        }
        if replaces is None:
            request["IfNoneMatch"] = "*"
        else:
            request["IfMatch"] = replaces
        self._client.put_object(**request)

    def put_without_key(self, key: str, body: bytes) -> "PutObjectOutputTypeDef":
        """Put an object that names no key: the bucket's default encrypts it."""
        return self._client.put_object(Bucket=self._name, Key=key, Body=body, ExpectedBucketOwner=self._owner)

    def delete(self, key: str, etag: str) -> None:
        """Delete an object if it is still the one with this ETag.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
        """
        self._client.delete_object(Bucket=self._name, Key=key, IfMatch=etag, ExpectedBucketOwner=self._owner)

    def delete_version(self, key: str, version: str) -> None:
        """Delete one version of an object for good."""
        self._client.delete_object(Bucket=self._name, Key=key, VersionId=version, ExpectedBucketOwner=self._owner)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Mapping[str, Any]]:
        """List the objects below a prefix, in the order of their keys as bytes, from behind a key."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=prefix, StartAfter=after, ExpectedBucketOwner=self._owner
        )
        for page in pages:
            yield from page.get("Contents", [])

    def list_versions(self, prefix: str, *, after: str = "") -> Iterator[Mapping[str, Any]]:
        """List all versions of the objects below a prefix, from behind a key."""
        # The stubs do not know `KeyMarker`, because the paginator sets it behind the first page.
        marker: dict[str, Any] = {"KeyMarker": after} if after else {}
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._name, Prefix=prefix, ExpectedBucketOwner=self._owner, **marker
        )
        for page in pages:
            yield from page.get("Versions", [])

    def _is_gone(self, err: ClientError, key: str, version: str | None) -> bool:
        code = err.response["Error"]["Code"]
        if code not in _DENIED:
            return code in _GONE
        if version is None:
            return not self.has(key)
        return not any((one["Key"], one["VersionId"]) == (key, version) for one in self.list_versions(key))
