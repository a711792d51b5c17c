"""The grant matrix: who may do what to which key and prefix, and why."""
