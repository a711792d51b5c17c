"""Writes the templates and the generated parts of the documentation; nothing imports it at run time."""
