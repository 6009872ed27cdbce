"""Narrations, answers and pictures, stored on disk and searchable. Needs neither ROS nor torch."""
