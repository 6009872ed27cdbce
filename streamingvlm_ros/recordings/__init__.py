"""Bags and videos as chunks of one camera, and their annotations. Needs no ROS."""
