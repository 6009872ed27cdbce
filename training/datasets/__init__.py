"""What robots recorded, as clips to learn from."""
