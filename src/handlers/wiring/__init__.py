"""What each function is made of, wired once per cold start."""
