"""A synthetic world to look at, and the small model that was trained on it."""
