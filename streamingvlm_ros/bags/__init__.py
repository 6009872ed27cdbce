"""Bags on disk: reading them from any storage, writing and recording them. Needs no ROS."""
