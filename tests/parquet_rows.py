"""Reading Parquet in tests: in the thread that asks, since Arrow's own may abort a process that ends.

Source: https://github.com/apache/arrow/issues/34314
"""

import io
from collections.abc import Sequence
from typing import Any

from pyarrow import parquet


def rows_of(body: bytes, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file, or some of their columns."""
    file = parquet.ParquetFile(io.BytesIO(body), pre_buffer=False)
    rows: list[dict[str, Any]] = file.read(columns=columns, use_threads=False).to_pylist()
    return rows
