"""Fine-tuning on clips: `python -m streamingvlm_training.sft RECIPE.yaml`."""

import logging
import sys

if __name__ == "training":  # a checkout's folder, by the name that it had until version 0.1
    print(
        "note: `python -m training.…` is now `python -m streamingvlm_training.…`", file=sys.stderr
    )

# transformers imports it where it is installed, and it warns of what only other CPUs' hosts need.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
