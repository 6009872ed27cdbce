"""The node `player`: a bag as live topics."""
