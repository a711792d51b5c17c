"""Replay one schedule and tell what happens, or run many until one is bad.

python -m tests.faults 7847                      # one seed
python -m tests.faults 0 10000                   # many
python -m tests.faults 0 10000 kill,keys         # many that know only some kinds of trouble
python -m tests.faults 0 10000 off               # many without the checkpoint
"""

import sys
from typing import Any

from tests.builders import lines_in
from tests.faults.schedule import run
from tests.faults.world import World


def main(first: int, last: int | None, *, families: tuple[str, ...] | None, has_checkpoint: bool) -> int:
    """Return the exit code: 1 if a schedule loses a record, or doubles one although there is a checkpoint."""
    if last is None:
        _tell()
    for seed in range(first, first + 1 if last is None else last):
        try:
            schedule = run(seed, has_checkpoint=has_checkpoint, families=families)
        except AssertionError as err:
            sys.stdout.write(f"seed {seed}: {err}\n")
            return 1
        if found := [one for one in schedule.world.problems() if has_checkpoint or "times" not in one]:
            sys.stdout.write(f"{schedule}\n  " + "\n  ".join(found) + "\n")
            return 1
    return 0


def _tell() -> None:
    """Let the steps of a world print themselves."""

    def told(name: str) -> None:
        step = getattr(World, name)

        def telling(world: World, *args: Any, **more: Any) -> Any:
            about = [record["kinesis"]["sequenceNumber"] for record in args[0]["Records"]] if name == "_invoke" else ""
            sys.stdout.write(f"{world.clock:.0f} {name} {about} {more or ''}\n")
            done = step(world, *args, **more)
            if name in {"_invoke", "replay", "restore", "erase"}:
                sys.stdout.write(f"  -> {done}\n")
                for key, put in sorted(world.s3.objects.items()):
                    sys.stdout.write(f"     {key}: {len(lines_in(put['Body'])) if key.endswith('.gz') else 'event'}\n")
            return done

        setattr(World, name, telling)

    for name in (
        "_invoke", "replay", "deploy", "restart", "reshard", "kill", "be_slow", "fail_once", "switch_key",
        "switch_bucket", "switch_table", "switch_vault", "heal", "back_up", "restore", "forge", "erase",
    ):  # fmt: skip
        told(name)


if __name__ == "__main__":
    _numbers = [int(text) for text in sys.argv[1:] if text.isdecimal()]
    _words = [text for text in sys.argv[1:] if not text.isdecimal() and text != "off"]
    sys.exit(
        main(
            _numbers[0],
            _numbers[1] if len(_numbers) > 1 else None,
            families=tuple(_words[0].split(",")) if _words else None,
            has_checkpoint="off" not in sys.argv,
        )
    )
