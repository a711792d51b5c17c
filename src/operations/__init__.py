"""What runs under the claim of a shard beside the flow: replay, erasure, recovery; and the grant check."""
