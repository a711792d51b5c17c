"""The grant check: try every grant before the next record needs it."""
