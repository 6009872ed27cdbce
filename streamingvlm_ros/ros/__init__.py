"""The nodes: the only place that imports rclpy and ROS messages."""
