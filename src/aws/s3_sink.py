"""The S3 sink: puts rendered objects under the key of their route, conditionally and in parallel."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from aws.bucket import Bucket
from aws.clients import PARALLEL_PUTS
from aws.invocation import Invocation
from aws.refusals import Refusals
from routing.errors import DeliveryError
from routing.model import RenderedObject, RouteName
from routing.reasons import Reason
from routing.stored.object_format import FENCING
from routing.table.routes import logical_id

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# A put that starts later than this before the deadline could land after the invocation was killed. It
# would do no harm, but its outcome would be unknown.
_SECONDS_FOR_A_PUT = 5.0

# How long a put may take, its look at what exists and a slow answer included, and how many one commit covers at
# most: their names have to fit into a row of 400 KB. An invocation begins no more than it can finish.
_SECONDS_A_PUT = 1.0
_MOST_AT_ONCE = 1000

# The codes of S3 for puts that fail with every retry; all others are transient.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
_PERMANENT = {
    "AccessDenied": Reason.ACCESS_DENIED,
    "403": Reason.ACCESS_DENIED,  # of HeadObject, whose answer has no body to name a code in
    "KMS.AccessDeniedException": Reason.KMS_KEY_ACCESS_DENIED,
    "KMS.DisabledException": Reason.KMS_KEY_DISABLED,
    "KMS.InvalidStateException": Reason.KMS_KEY_INVALID_STATE,
    "KMS.KMSInvalidStateException": Reason.KMS_KEY_INVALID_STATE,
    "KMS.InvalidKeyUsageException": Reason.KMS_KEY_INVALID_STATE,
    "KMS.NotFoundException": Reason.KMS_KEY_NOT_FOUND,
    # The same of KMS itself, where the keys of protection are asked for.
    # https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateMac.html#API_GenerateMac_Errors
    "AccessDeniedException": Reason.KMS_KEY_ACCESS_DENIED,
    "DisabledException": Reason.KMS_KEY_DISABLED,
    "KMSInvalidStateException": Reason.KMS_KEY_INVALID_STATE,
    "InvalidKeyUsageException": Reason.KMS_KEY_INVALID_STATE,
    "NotFoundException": Reason.KMS_KEY_NOT_FOUND,
}
_CURES = {
    Reason.ACCESS_DENIED: "compare the bucket policy and the function role's policies (s3:PutObject, s3:GetObject) with "
    "template.yaml",
    Reason.KMS_KEY_ACCESS_DENIED: "allow the function role {action} on {key}, in the key policy and its own",
    Reason.KMS_KEY_DISABLED: "enable {key} again",
    Reason.KMS_KEY_INVALID_STATE: "cancel the deletion of {key} or give the route another key",
    Reason.KMS_KEY_NOT_FOUND: "give the route a key that exists in this Region instead of {key}",
}
_EXISTS = ("PreconditionFailed", "412")
_NOT_SEEN = ("404", "NoSuchKey", "403")


class S3Sink:
    """Puts objects for one invocation."""

    def __init__(
        self,
        bucket: Bucket,
        key_arns: Mapping[RouteName, str],
        invocation: Invocation,
        workers: Executor,
        refusals: Refusals | None = None,
    ) -> None:
        """Bind what outlives the invocation to the invocation, for its deadline.

        Args:
            bucket: Of the stack.
            key_arns: The KMS key of every route, that of dead letters included.
            invocation: The current one.
            workers: Threads that put in parallel.
            refusals: What destinations have refused lately; none by default.
        """
        self._bucket = bucket
        self._key_arns = key_arns
        self._invocation = invocation
        self._workers = workers
        self._refusals = Refusals() if refusals is None else refusals

    def put_all(self, objects: Sequence[RenderedObject]) -> list[DeliveryError | None]:
        """Put objects in parallel; one verdict each, in order."""
        inline = len(objects) == 1
        verdicts = [self._verdict(objects[0])] if inline else list(self._workers.map(self._verdict, objects))
        for rendered, error in zip(objects, verdicts, strict=True):
            self._refusals.note(rendered.route, error)
        return verdicts

    def refusals(self) -> Mapping[RouteName, DeliveryError]:
        """Return what destinations have refused for good a moment ago, by route."""
        return self._refusals.current()

    def room(self) -> int:
        """Return how many objects can be put before the deadline, at a slow rate; 0 if no more should begin."""
        seconds = self._invocation.remaining_seconds() - _SECONDS_FOR_A_PUT
        return max(0, min(_MOST_AT_ONCE, int(seconds * PARALLEL_PUTS / _SECONDS_A_PUT)))

    def _verdict(self, rendered: RenderedObject) -> DeliveryError | None:
        if self._invocation.remaining_seconds() < _SECONDS_FOR_A_PUT:
            message = f"route {rendered.route!r}: no time left to put; raise the function's time-out"
            return DeliveryError(message, reason=Reason.OUT_OF_TIME, is_transient=True)
        try:
            self._put(rendered)
        except DeliveryError as err:
            return err
        except ClientError as err:
            return classified(f"route {rendered.route!r}", rendered.route, err)
        except BotoCoreError as err:  # connections and time-outs, after the SDK's retries
            message = f"route {rendered.route!r}: put failed with {type(err).__name__}"
            return DeliveryError(message, reason=Reason.UNAVAILABLE, is_transient=True)
        return None

    def _put(self, rendered: RenderedObject) -> None:
        """Put if nothing exists under the name, else replace what does by its ETag.

        What exists is an earlier try of the same records, cut differently or not. Even the same content is
        put again: the new ETag, which the fencing token in the body makes, refuses a replacement that a killed
        invocation has sent and that has not landed yet. Where a later claim has put it, this invocation has
        outlived its own and stops; so no clock has to be right. Without a claim the name tells the content, and
        nothing is replaced. A name that an earlier try has intended is looked at first, which saves the refused
        put. Reading ETag and metadata needs `s3:GetObject`, which without `kms:Decrypt` shows no content.

        Raises:
            DeliveryError: A later claim holds the shard.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        mine = rendered.metadata.get(FENCING)
        there = self._look(rendered) if rendered.may_exist and mine is not None else None
        if there is None:
            try:
                self._put_if(rendered)
            except ClientError as err:
                if err.response["Error"]["Code"] not in _EXISTS:
                    raise
            else:
                return
            if mine is None:
                return
            there = self._bucket.head(rendered.key)
        if int(there["Metadata"].get(FENCING, -1)) > int(mine or -1):
            message = f"route {rendered.route!r}: a later invocation holds the shard; Lambda sends again"
            raise DeliveryError(message, reason=Reason.CLAIMED_ELSEWHERE, is_transient=True)
        self._put_if(rendered, replaces=there["ETag"])

    def _look(self, rendered: RenderedObject) -> "HeadObjectOutputTypeDef | None":
        """Look at what may exist; None if nothing does, or if S3 does not tell, as without `s3:ListBucket`.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        """
        try:
            return self._bucket.head(rendered.key)
        except ClientError as err:
            if err.response["Error"]["Code"] not in _NOT_SEEN:
                raise
            return None

    def replace(self, rendered: RenderedObject, etag: str) -> None:
        """Put an object in the place of what was read with an ETag, and of nothing else.

        Raises:
            DeliveryError: Another object is stored there now, or its key refuses.
        """
        try:
            self._put_if(rendered, replaces=etag)
        except ClientError as err:
            if err.response["Error"]["Code"] in _EXISTS:
                message = f"route {rendered.route!r}: it was written meanwhile; erase again"
                raise DeliveryError(message, reason=Reason.CLAIMED_ELSEWHERE, is_transient=True) from None
            raise classified(f"route {rendered.route!r}", rendered.route, err) from None

    def _put_if(self, rendered: RenderedObject, *, replaces: str | None = None) -> None:
        key_arn, metadata = self._key_arns[rendered.route], rendered.metadata
        self._bucket.put(rendered.key, rendered.body, key_arn=key_arn, metadata=metadata, replaces=replaces)


def make_workers() -> ThreadPoolExecutor:
    """Make the threads that put; one pool per container."""
    return ThreadPoolExecutor(max_workers=PARALLEL_PUTS, thread_name_prefix="put")


def classified(what: str, key_of: str, err: ClientError) -> DeliveryError:
    """Classify an error by its code: a retry can help or not. AWS's own text is not passed on; it may quote anything.

    Args:
        what: What was put, for the message.
        key_of: The route whose key should have encrypted it.
        err: What S3 answered.
    """
    code = err.response["Error"]["Code"]
    reason = _PERMANENT.get(code)
    if reason is None:
        message = f"{what}: {err.operation_name} failed with {code}"
        return DeliveryError(message, reason=Reason.UNAVAILABLE, is_transient=True)
    if reason is Reason.ACCESS_DENIED and "kms:" in (err.response["Error"].get("Message") or ""):
        reason = Reason.KMS_KEY_ACCESS_DENIED  # S3 names the action that KMS refused only in its text
    action = "kms:GenerateMac" if err.operation_name == "GenerateMac" else "kms:GenerateDataKey"
    cure = _CURES[reason].format(key=f"{logical_id(key_of)}Key", action=action)
    message = f"{what}: {err.operation_name} refused with {code}; {cure}"
    return DeliveryError(message, reason=reason, is_transient=False)
