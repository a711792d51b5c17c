"""Adapters: the only modules of the Lambda bundle that call AWS for data."""
