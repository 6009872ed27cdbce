"""Learning from clips: `python -m training.sft RECIPE.yaml`."""

import logging

# transformers imports it where it is installed, and it warns of what only other CPUs' hosts need.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
