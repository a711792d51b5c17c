"""Replay: deliver what waits, or is still in the stream."""
