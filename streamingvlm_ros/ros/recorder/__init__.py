"""The node `recorder`: topics into bags, and clips of moments worth keeping."""
