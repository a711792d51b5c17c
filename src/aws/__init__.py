"""Adapters to AWS: S3, DynamoDB, Kinesis, KMS, and the settings of the functions."""
