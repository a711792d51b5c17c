"""Trimming a bundle touches nothing outside it, although installers link files from a shared cache."""

import gzip
import json
import os
import platform
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
from bundle import SERVICES, architecture_of, trim, trim_arrow, without_documentation


def test_trimming_a_bundle_leaves_the_cache_that_it_is_linked_from(tmp_path: Path) -> None:
    cached, bundle = tmp_path / "cache" / "endpoints.json", tmp_path / "bundle"
    data = bundle / "botocore" / "data"
    services: dict[str, object] = {name: {} for name in (*SERVICES, "not-needed")}
    for name in services:
        (data / name).mkdir(parents=True)
        (data / name / "service-2.json.gz").write_bytes(gzip.compress(b"{}"))
    cached.parent.mkdir()
    cached.write_text(json.dumps({"partitions": [{"services": services}]}))
    os.link(cached, data / "endpoints.json")
    before = cached.read_text()

    trim(bundle)

    assert cached.read_text() == before
    (partition,) = json.loads((data / "endpoints.json").read_text())["partitions"]
    assert set(partition["services"]) == SERVICES
    assert {folder.name for folder in data.iterdir() if folder.is_dir()} == SERVICES
    assert (data / "s3" / "service-2.json").read_text() == "{}"


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_architecture_is_the_one_that_the_template_deploys(tmp_path: Path, architecture: str) -> None:
    template = tmp_path / "template.yaml"
    shipped = (Path(__file__).parents[2] / "template.yaml").read_text()
    template.write_text(shipped.replace("Architectures: [x86_64]", f"Architectures: [{architecture}]"))
    assert architecture_of(template) == architecture


@pytest.mark.parametrize("line", ["    Architectures: [!Ref Architecture]", "    Architectures: [i386]", ""])
def test_template_that_does_not_say_it_as_a_constant_is_refused(tmp_path: Path, line: str) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(f"Globals:\n  Function:\n{line}\n")
    with pytest.raises(SystemExit, match=r"expected Architectures: \[x86_64\] or \[arm64\] once"):
        architecture_of(template)


@pytest.mark.parametrize(("machine", "expected"), [("x86_64", "x86_64"), ("aarch64", "arm64")])
def test_build_container_has_no_template_and_builds_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, expected: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert architecture_of(tmp_path / "template.yaml") == expected


def test_models_lose_what_they_say_to_people_and_nothing_else() -> None:
    model = {
        "documentation": "<p>long</p>",
        "shapes": {"documentation": {"type": "string", "documentation": "x"}, "B": {"enum": ["documentation"]}},
        "list": [{"documentation": "y", "a": 1}],
    }
    assert without_documentation(model) == {
        "shapes": {"documentation": {"type": "string"}, "B": {"enum": ["documentation"]}},
        "list": [{"a": 1}],
    }


def test_only_the_function_that_makes_columns_has_arrow_and_of_it_what_writes_parquet(tmp_path: Path) -> None:
    folder = tmp_path / "pyarrow"
    kept = ["__init__.py", "lib.cpython-313-x86_64-linux-gnu.so", "libarrow.so.2600", "libparquet.so.2600", "types.py"]
    gone = [
        "libarrow_flight.so.2600",
        "libarrow_s3.so.2600",
        "_csv.cpython-313-x86_64-linux-gnu.so",
        "table.pxi",
        "lib.pyx",
    ]
    for name in (*kept, *gone, "parquet/core.py", "tests/test_x.py", "include/arrow/api.h"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    trim_arrow(folder)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == {*kept, "parquet/core.py"}
