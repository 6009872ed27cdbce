"""A tiny Qwen2.5-VL from scratch, with random weights."""

from __future__ import annotations

from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.setting import setting, settings_group

HEAD = 32
"""Width of an attention head, of the text decoder and of the vision tower."""


@settings_group
class ScratchConfig:
    """Size of a model with random weights."""

    hidden: int = setting(128, "Width of the text decoder.", low=32, high=8192)
    layers: int = setting(4, "Number of layers of the text decoder.", low=1, high=128)
    intermediate: int = setting(
        384, "Inner width of the text decoder's feed-forward layers.", low=1, high=65536
    )
    key_heads: int = setting(
        2, "Number of key and value heads of the text decoder.", low=1, high=256
    )
    vision_hidden: int = setting(96, "Width of the vision tower.", low=32, high=8192)
    vision_layers: int = setting(3, "Number of layers of the vision tower.", low=1, high=128)
    vision_intermediate: int = setting(
        256, "Inner width of the vision tower's feed-forward layers.", low=1, high=65536
    )
    window_px: int = setting(
        112, "Side of the vision tower's attention windows in pixels.", low=28, high=4096
    )
    vocabulary: int = setting(512, "Maximum size of the vocabulary.", low=300, high=10**6)
    initial_std: float = setting(
        0.06,
        "Standard deviation of the initial weights. With the usual 0.02 a very small model never "
        "learns more than the most frequent caption.",
        low=0.0001,
        high=1.0,
    )

    def __post_init__(self) -> None:
        for name in ("hidden", "vision_hidden"):
            if getattr(self, name) % HEAD:
                raise ConfigError(
                    f"{name} must be a multiple of {HEAD}, the width of a head, not "
                    f"{getattr(self, name)}"
                )
        if self.hidden // HEAD % self.key_heads:
            raise ConfigError(
                f"key_heads must divide the number of heads, {self.hidden // HEAD} with hidden "
                f"{self.hidden}; {self.key_heads} does not"
            )


def new_model(
    size: ScratchConfig, tokenizer: PreTrainedTokenizerFast
) -> Qwen2_5_VLForConditionalGeneration:
    """Return a model with random weights, drawn from torch's generator."""
    special = {
        name: tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in {
            "image_token_id": "image_pad",
            "video_token_id": "video_pad",
            "vision_start_token_id": "vision_start",
            "vision_end_token_id": "vision_end",
        }.items()
    }
    ends = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = Qwen2_5_VLConfig(
        text_config=_text(size, len(tokenizer)) | ends,
        vision_config=_vision(size),
        tie_word_embeddings=False,
        **special,
        **ends,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ends, do_sample=False)
    return model


def _text(size: ScratchConfig, vocabulary: int) -> dict[str, object]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.hidden // HEAD,
        "num_key_value_heads": size.key_heads,
        "max_position_embeddings": 32768,
        "initializer_range": size.initial_std,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [4, 6, 6],
        },
    }


def _vision(size: ScratchConfig) -> dict[str, object]:
    return {
        "depth": size.vision_layers,
        "hidden_size": size.vision_hidden,
        "intermediate_size": size.vision_intermediate,
        "num_heads": size.vision_hidden // HEAD,
        "out_hidden_size": size.hidden,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": size.window_px,
        "fullatt_block_indexes": list(range(size.vision_layers)),
        "initializer_range": size.initial_std,
    }
