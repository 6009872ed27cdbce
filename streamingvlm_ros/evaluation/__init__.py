"""Recordings given to the model again, and scored. Needs no ROS."""
