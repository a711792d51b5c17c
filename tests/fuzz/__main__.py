"""`make fuzz TARGET=decode SECONDS=60`: a coverage-guided run; what crashes is kept in the corpus."""

import sys
from pathlib import Path

import atheris

_CORPUS = Path(__file__).parent / "corpus"


def main(target: str, seconds: str) -> None:
    """Run one target; libFuzzer writes a crashing input into its corpus and stops."""
    with atheris.instrument_imports(include=["routing"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - imports are what is instrumented
    corpus = _CORPUS / target
    fresh = Path(".cache") / "fuzz" / target
    fresh.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=5",
        f"-artifact_prefix={corpus}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(fresh), str(corpus)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
