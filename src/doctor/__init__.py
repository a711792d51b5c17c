"""The doctor: read-only checks of a live account, from Amazon Connect to the last key."""
