"""The demo's synthetic camera, and the listener that compares narration with the truth."""
