"""Qwen2.5-VL: everything in the engine that is specific to the model family."""
