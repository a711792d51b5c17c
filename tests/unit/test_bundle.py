"""Trimming a bundle touches nothing outside it, although installers link files from a shared cache."""

import gzip
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
from bundle import SERVICES, trim


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
