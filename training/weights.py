"""The model before the first step, and the finished checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn
from transformers import (
    BitsAndBytesConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.utils import is_bitsandbytes_available

from streamingvlm_ros.config import CHECKPOINT_SETTINGS, PromptConfig
from streamingvlm_ros.engine.model import LoadedModel, load, own_device, resolve
from streamingvlm_ros.errors import ConfigError
from streamingvlm_ros.rank import process_rank

from .divergence import check_start_weights
from .recipe import LoraConfig, Recipe
from .tiny_model import new_model
from .tokenizer import train_tokenizer
from .world_clips import world_texts

if TYPE_CHECKING:
    from peft import PeftModel

ADAPTER = "adapter"
_TEXT_LAYERS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
_VISION_LAYERS = r".*visual\..*\.(qkv|proj|gate_proj|up_proj|down_proj|mlp\.[02])"
_HEAD = "lm_head"

TrainableModel: TypeAlias = "Qwen2_5_VLForConditionalGeneration | PeftModel"


def initial_model(recipe: Recipe) -> tuple[TrainableModel, PreTrainedTokenizerFast]:
    """Return the model and tokenizer before the first step: new ones, or those of `start`.

    Raises:
        ConfigError: A library that the recipe needs is missing.
        ModelError: `start` can't be loaded, or its weights aren't finite.
    """
    if not recipe.start:
        tokenizer = world_tokenizer(recipe.settings.prompt, recipe.model.vocabulary)
        return new_model(recipe.model, tokenizer), tokenizer
    quantization = _four_bit(recipe) if recipe.lora and recipe.lora.four_bit else None
    # Each process has all weights on its own GPU until Trainer shards them.
    device = own_device(process_rank().local or 0)
    loaded = _load_start(recipe, device, quantization=quantization)
    model = loaded.model
    check_start_weights(model, recipe.start)
    if recipe.lora:
        return add_adapters(model, recipe.lora), loaded.tokenizer
    if recipe.training.freeze_vision:
        model.model.visual.requires_grad_(False)
    return model, loaded.tokenizer


def world_tokenizer(prompt: PromptConfig, vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a new tokenizer for the texts of the synthetic world."""
    return train_tokenizer(world_texts(prompt), vocabulary)


def add_adapters(model: Qwen2_5_VLForConditionalGeneration, lora: LoraConfig) -> PeftModel:
    """Return the model with new adapters, which alone are trained.

    Raises:
        ConfigError: peft is not installed.
    """
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


def untie_head(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Give the output head weights of its own if it shares those of the embeddings.

    An adapter of the head, merged into shared weights, would change the embeddings, too.
    """
    weight = model.lm_head.weight
    if weight is not model.get_input_embeddings().weight:
        return
    model.lm_head.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    # transformers ties them if either says so.
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}


def save_checkpoint(
    recipe: Recipe,
    model: TrainableModel,
    *,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write a complete checkpoint in Hugging Face's format, with its streaming settings.

    Adapters are merged into the weights, and also saved separately in `adapter`. `weights` are all
    of the model's if it holds only a shard of them itself.
    """
    merged: Any = model
    if recipe.lora:
        # The head is in the start already; other programs accept only adapters here.
        merged.save_pretrained(str(folder / ADAPTER), save_embedding_layers=False)
        merged = _on_unrounded(recipe, folder / ADAPTER) if recipe.lora.four_bit else merged
        merged = merged.merge_and_unload()
    merged.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)
    settings = json.dumps(_streaming_settings(recipe), indent=2)
    (folder / CHECKPOINT_SETTINGS).write_text(settings + "\n")


def _load_start(recipe: Recipe, device: str, *, quantization: Any = None) -> LoadedModel:
    """Load the start: in bfloat16 below float32 adapters, in float32 if it is trained itself."""
    half = recipe.lora and recipe.training.bfloat16
    config = replace(recipe.settings.model, dtype="bfloat16" if half else "float32", device=device)
    loaded = load(resolve(recipe.start), config, quantization=quantization)
    if recipe.lora and recipe.lora.head:
        untie_head(loaded.model)
    return loaded


def _four_bit(recipe: Recipe) -> BitsAndBytesConfig:
    """Quantize the text decoder's layers to NF4, with quantized scales; nothing else."""
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


def _on_unrounded(recipe: Recipe, adapter: Path) -> PeftModel:
    """Load the adapters on the start's unquantized weights, on the CPU: they would fill the GPU."""
    from peft import PeftModel

    return PeftModel.from_pretrained(_load_start(recipe, "cpu").model, str(adapter))


def _streaming_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the start's own settings, updated by the recipe's."""
    start = resolve(recipe.start) if recipe.start else None
    path = start / CHECKPOINT_SETTINGS if isinstance(start, Path) else None
    settings = json.loads(path.read_text()) if path and path.exists() else {}
    return {**settings, **recipe.streaming}
