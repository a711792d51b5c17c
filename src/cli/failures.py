"""How commands fail: one sentence for whatever AWS or this machine answers, and never a traceback.

Exit codes: 1 what was looked at is not as it should be, or an argument is wrong; 2 the command line cannot be read;
3 AWS could not be asked; 130 interrupted.
"""

import os
import sys
from typing import Any

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from typer.core import TyperGroup

NOT_ASKED = 3
_INTERRUPTED = 130
_running: list[Any] = []
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {
    "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure",
    "InvalidSignatureException", "MissingAuthenticationToken", "InvalidToken", "OptInRequired",
}  # fmt: skip
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403"}


class Commands(TyperGroup):
    """A group of commands whose failures are sentences."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - of a module that typer keeps to itself
        """Run a command.

        Raises:
            Exit: It failed; the sentence was printed.
        """
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError) as err:
            typer.echo(explained(err, _running[-1] if _running else None), err=True)
            raise typer.Exit(NOT_ASKED) from None
        except BrokenPipeError:  # `| head` has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # which the end of the process flushes
            raise typer.Exit(0) from None
        except OSError as err:
            typer.echo(f"{err.filename or 'a file'}: {err.strerror}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from None


def remember(session: Any) -> None:  # noqa: ANN401 - a boto3 session
    """Keep the session of the running command, for the sentence of a failure."""
    _running[:] = [session]


def is_about_login(err: ClientError) -> bool:
    """Return True if AWS has not even looked at what was asked for."""
    return err.response["Error"]["Code"] in _EXPIRED | _UNKNOWN


def explained(err: BotoCoreError | ClientError, session: Any = None) -> str:  # noqa: ANN401 - a boto3 session, or None
    """Return one sentence: what failed, and what to do."""
    profile = getattr(session, "profile_name", None) or "default"
    login = f"aws sso login --profile {profile}"
    if isinstance(err, ClientError):
        return _of_answer(err, login, getattr(session, "region_name", None))
    if isinstance(err, (NoCredentialsError, PartialCredentialsError)):
        return f"no credentials for AWS were found; {login}, or give --profile with another profile"
    if isinstance(err, (SSOError, UnauthorizedSSOTokenError, TokenRetrievalError)):
        return f"the login of profile {profile!r} has expired; {login}"
    if isinstance(err, CredentialRetrievalError):
        return f"the credentials of profile {profile!r} could not be fetched; {login}, or give --profile"
    if isinstance(err, (HTTPClientError, BotoConnectionError)):
        where = err.kwargs.get("endpoint_url", "AWS")
        return (
            f"{where} does not answer ({type(err).__name__}); compare --region, AWS_ENDPOINT_URL and the network with "
            "what you expect"
        )
    return f"AWS could not be asked: {str(err).rstrip('.')}"


def _of_answer(err: ClientError, login: str, region: str | None) -> str:
    code, operation = err.response["Error"]["Code"], err.operation_name
    if code in _EXPIRED:
        return f"the login has expired ({code}); {login}"
    if code in _UNKNOWN:
        return f"AWS does not take these credentials ({code}); {login}, or give --profile with another profile"
    if code in _DENIED:
        return f"{operation} was denied ({code}): allow it to your role, or give --profile with another one"
    return f"{operation} failed in {region or 'this Region'} with {code}"
