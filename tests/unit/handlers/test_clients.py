"""The clients: no call may take the whole invocation."""

import pytest

from aws.clients import PARALLEL_PUTS, dynamodb_client, s3_client


@pytest.mark.parametrize("make", [s3_client, dynamodb_client])
def test_calls_give_up_in_time_for_a_retry(make: object) -> None:
    """Botocore waits 60 s for an answer by default; the function has 120 s in all."""
    assert callable(make)
    config = make().meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}
    assert config.max_pool_connections >= PARALLEL_PUTS
