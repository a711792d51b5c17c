"""The route table: `routes.toml` read, checked and compiled."""
