"""Refresh the blocks that cog writes into files, or tell whether they are up to date."""

from pathlib import Path

from cogapp import Cog

_PROLOGUE = "import cog\nfrom infrastructure.calls import *"


def refresh(paths: list[Path], *, is_check: bool) -> bool:
    """Run the cog calls of files in place.

    Args:
        paths: Files with calls between `[[[cog` and `[[[end]]]`.
        is_check: True to change nothing.

    Returns:
        True if every file is up to date, or is now.
    """
    arguments = ["cog", "-p", _PROLOGUE, "--verbosity=1", *(["--check", "--diff"] if is_check else ["-r"])]
    code: int = Cog().main([*arguments, *map(str, paths)])  # type: ignore[no-untyped-call]
    return code == 0
