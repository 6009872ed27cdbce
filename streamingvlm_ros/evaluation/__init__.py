"""Evaluation of models on recordings. Needs no ROS."""
