"""`streamingvlm demo`: camera, narrator and a live view in the terminal."""
