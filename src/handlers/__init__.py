"""The edge: Lambda entry points and the adapters they wire; the only code with boto3, the clock and logs."""
