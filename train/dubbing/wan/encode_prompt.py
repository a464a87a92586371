"""`python -m train.encode_prompt --model WAN_FOLDER --text "a person speaks" --out prompt.safetensors`: text for Wan.

WAN_FOLDER: a Wan model in diffusers' layout, of which `text_encoder` and `tokenizer` are read. The file is the `prompt`
of a config of train.finetune_dubbing: one text for all samples, as a dub is sampled with one text too.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import save_safetensors

LENGTH = 512  # tokens; beyond the text Wan sees zeros


@torch.inference_mode()
def encode_prompt(model: Path, text: str) -> Tensor:
    """[512, text_dim], as diffusers' WanVACEPipeline has it. Raises SyncLipError where the folder holds no encoder."""
    from transformers import AutoTokenizer, UMT5EncoderModel

    try:
        tokenizer = AutoTokenizer.from_pretrained(model / "tokenizer", local_files_only=True)
        encoder = UMT5EncoderModel.from_pretrained(model / "text_encoder", local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise SyncLipError(f"{model}: no text encoder of Wan in diffusers' layout ({error})") from error
    given = tokenizer(text, max_length=LENGTH, padding="max_length", truncation=True, return_tensors="pt")
    said = encoder(given.input_ids, given.attention_mask).last_hidden_state[0].float()
    return said * given.attention_mask[0, :, None]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.encode_prompt", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a Wan model in diffusers' layout")
    parser.add_argument("--text", required=True)
    parser.add_argument("--out", type=Path, default=Path("prompt.safetensors"))
    options = parser.parse_args(arguments)
    try:
        prompt = encode_prompt(options.model, options.text)
        save_safetensors(options.out, {"prompt": prompt.contiguous()}, {"text": options.text})
    except SyncLipError as error:
        print(f"encode_prompt: {error}", file=sys.stderr)
        return 4
    print(f"{options.out}: {list(prompt.shape)}")
    return 0
