"""The node `recorder`: topics into bags, and clips of single moments."""
