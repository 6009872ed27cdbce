"""The streaming engine. Knows no ROS, no files but a checkpoint's, no clock."""
