"""From a camera's or a video's frames to chunks. Knows neither ROS nor torch."""
