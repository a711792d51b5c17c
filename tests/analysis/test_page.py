"""Every query that docs/analysis.md shows has the result that it shows."""

from local.lake import Lake
from tests.analysis.page import PAGE, examples


def test_examples_of_the_page_are_right(lake: Lake) -> None:
    shown = list(examples(lake))
    assert len(shown) == PAGE.read_text(encoding="utf-8").count("```sql")
    assert [written for written, right in shown if written != right] == []
