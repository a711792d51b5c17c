"""What is stored: names, metadata, dead letters, and how stored objects compare with records."""
