"""The proofs; the folder is the kind (see conftest.py)."""
