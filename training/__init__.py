"""Learning from clips: `python -m training.sft RECIPE.yaml`."""
