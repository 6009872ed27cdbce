"""Qwen2.5-VL: everything in the engine that knows the model family."""
