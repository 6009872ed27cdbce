"""StreamingVLM for ROS 2: a robot that watches, speaks and can be asked."""

from pkgutil import extend_path

# The interfaces generated from msg/ and srv/ are installed as streamingvlm_ros.msg and
# streamingvlm_ros.srv. From a source tree they live in another folder than this file;
# extending the path finds them there too.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
