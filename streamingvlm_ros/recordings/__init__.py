"""Bags and videos as a camera's chunks, and the words that go with them. Needs no ROS."""
