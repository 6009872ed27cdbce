"""The synthetic world of the demo, and the small model that was trained on it."""
