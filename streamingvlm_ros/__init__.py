"""StreamingVLM for ROS 2: live narration of camera images, and answers to questions."""

from pkgutil import extend_path

# The interfaces generated from msg/ and srv/ are installed as streamingvlm_ros.msg and
# streamingvlm_ros.srv. In a source tree they are in a different folder; extending the path finds
# them there, too.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
