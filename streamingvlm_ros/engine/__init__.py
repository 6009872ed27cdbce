"""The streaming engine. It uses no ROS, no clock, and no files except a checkpoint's."""
