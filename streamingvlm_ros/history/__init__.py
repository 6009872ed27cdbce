"""What was said and seen, kept on disk and found again. Knows neither ROS nor torch."""
