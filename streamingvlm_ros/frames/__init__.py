"""Frames of a camera or a video, cut into chunks. Needs neither ROS nor torch."""
