"""`python -m streamingvlm_ros.cli`."""

from . import main

main()
