"""The edge: Lambda entry points, what each function is wired of, and the only code that logs and counts."""
