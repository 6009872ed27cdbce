"""Fine-tuning on clips: `python -m streamingvlm_training.sft RECIPE.yaml`."""

import logging
import sys

if __name__ == "training":  # a checkout's folder, imported by its own name: decision 0010
    _module = next((word for word in sys.orig_argv if word.startswith("training.")), "training.sft")
    print(f"note: type python -m streamingvlm_{_module} instead of {_module}", file=sys.stderr)

# transformers imports bitsandbytes if it is installed; its warnings don't concern CPU users.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
