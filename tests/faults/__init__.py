"""Seeded schedules of faults: whatever happens between Kinesis and S3, every record stands once per route."""
