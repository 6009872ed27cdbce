"""Bags on disk: read, whatever storage they have, and written. Needs no ROS."""
