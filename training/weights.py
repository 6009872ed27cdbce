"""The weights before the first step and after the last."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor
from transformers import (
    BitsAndBytesConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.utils import is_bitsandbytes_available

from streamingvlm_ros.config import CHECKPOINT_SETTINGS
from streamingvlm_ros.engine.qwen2_5.checkpoint import LoadedModel, load, own_device, resolve
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.rank import process_rank

from .recipe import LoraConfig, Recipe
from .tiny_model import new_model
from .tokenizer import train_tokenizer
from .world_clips import world_texts

ADAPTER = "adapter"

_TEXT_LAYERS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
_VISION_LAYERS = r".*visual\..*\.(qkv|proj|gate_proj|up_proj|down_proj|mlp\.[02])"
_HEAD = "lm_head"

if TYPE_CHECKING:
    from peft import PeftModel

Trained: TypeAlias = "Qwen2_5_VLForConditionalGeneration | PeftModel"


def beginning(recipe: Recipe) -> tuple[Trained, PreTrainedTokenizerFast]:
    """The weights and tokenizer before the first step: new ones, or those of `start`.

    ConfigError if a library is missing that the recipe needs.
    """
    if not recipe.start:
        tokenizer = train_tokenizer(world_texts(recipe.settings.prompt), recipe.model.vocabulary)
        return new_model(recipe.model, tokenizer), tokenizer
    four_bit = _four_bit(recipe) if recipe.lora and recipe.lora.four_bit else None
    # Each process has all weights, on its own GPU, until Trainer spreads them.
    loaded = _start(recipe, own_device(process_rank().local or 0), four_bit)
    model = loaded.model
    if recipe.lora:
        return adapted(model, recipe.lora), loaded.tokenizer
    if recipe.training.freeze_vision:
        model.model.visual.requires_grad_(False)
    return model, loaded.tokenizer


def adapted(model: Qwen2_5_VLForConditionalGeneration, lora: LoraConfig) -> PeftModel:
    """The model with new adapters, which alone are trained. ConfigError without peft."""
    try:
        from peft import LoraConfig as PeftLora
        from peft import get_peft_model
    except ImportError as error:
        raise ConfigError("adapters need peft: pip install 'streamingvlm_ros[training]'") from error
    chosen = [(_TEXT_LAYERS, True), (_VISION_LAYERS, lora.vision), (_HEAD, lora.head)]
    layers = "|".join(f"({pattern})" for pattern, wanted in chosen if wanted)
    config = PeftLora(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers
    )
    return get_peft_model(model, config)


def save(
    recipe: Recipe,
    model: Trained,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """A complete folder in Hugging Face's format, with the settings it was trained for.

    Adapters are merged into it, and kept by themselves in `adapter`. `weights` are the model's
    where it has but a part of them itself.
    """
    whole: Any = model
    if recipe.lora:
        whole.save_pretrained(str(folder / ADAPTER))
        whole = _unrounded(recipe, folder / ADAPTER) if recipe.lora.four_bit else whole
        whole = whole.merge_and_unload()
    whole.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)
    (folder / CHECKPOINT_SETTINGS).write_text(json.dumps(_streaming(recipe), indent=2) + "\n")


def _start(recipe: Recipe, device: str, quantization: Any = None) -> LoadedModel:
    """Adapters are float32 beside a start in bfloat16; what is trained whole is float32 itself."""
    small = recipe.lora and recipe.training.bfloat16
    place = replace(recipe.settings.model, dtype="bfloat16" if small else "float32", device=device)
    return load(resolve(recipe.start), place, quantization)


def _four_bit(recipe: Recipe) -> BitsAndBytesConfig:
    """The text decoder's layers as NF4, whose scales are quantized, too; the rest as it is."""
    if not is_bitsandbytes_available():
        raise ConfigError(
            "lora: four_bit needs bitsandbytes: pip install 'streamingvlm_ros[qlora]'"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype="bfloat16" if recipe.training.bfloat16 else "float32",
        llm_int8_skip_modules=["model.visual", _HEAD],
    )


def _unrounded(recipe: Recipe, adapter: Path) -> PeftModel:
    """The adapters on weights that were never in 4 bits; on the CPU, as those fill the GPU."""
    from peft import PeftModel

    return PeftModel.from_pretrained(_start(recipe, "cpu").model, str(adapter))


def _streaming(recipe: Recipe) -> dict[str, Any]:
    """What `start` runs with, and what the recipe says otherwise."""
    its = resolve(recipe.start) if recipe.start else None
    own = its / CHECKPOINT_SETTINGS if isinstance(its, Path) else None
    settings = json.loads(own.read_text()) if own and own.exists() else {}
    return {**settings, **recipe.streaming}
