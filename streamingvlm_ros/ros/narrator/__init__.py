"""The node `narrator`: images in, timestamped narration and answers out."""
