"""Protection rules: what each route may see of a record."""
