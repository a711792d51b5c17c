"""Erase: take one contact out of everything that is stored."""
