"""Convert Silero VAD's network for 16 kHz to safetensors that synclip_core.media.speech.network runs.

A development-time program. The source is the TorchScript file of the PyPI wheel silero-vad 6.2.3 (MIT), whose first
convolution is found bit for bit in its ONNX files; the wheel's own silero_vad_16k.safetensors holds other weights
(snakers4/silero-vad#768):

    python -m tools.convert_silero silero_vad/data/silero_vad.jit synclip_core/weights/silero_vad.safetensors
        [--reference tests/data/silero_vad.npz --sounds CLIP.mp4 ...]

--reference: also writes what the original answers, window by window, on the sound of these clips: an array each, by the
file's name, and of the first clip the first 4 s of sound too.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synclip_core.files.safetensors_file import save_safetensors
from synclip_core.media.audio import read_audio
from synclip_core.media.speech.mask import WINDOW

NAMES = {
    "spectrum.weight": "stft.forward_basis_buffer",
    **{f"encoder.{2 * k}.{kind}": f"encoder.{k}.reparam_conv.{kind}" for k in range(4) for kind in ("weight", "bias")},
    **{f"memory.{kind}_l0": f"decoder.rnn.{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    "answer.weight": "decoder.decoder.2.weight",
    "answer.bias": "decoder.decoder.2.bias",
}


def convert(original: Any) -> dict[str, torch.Tensor]:
    """Tensors by our names; the last convolution, of one sample, is a product."""
    weights = {name: value.detach() for name, value in original._model.state_dict().items()}
    found = {ours: weights[theirs].contiguous().clone() for ours, theirs in NAMES.items()}
    found["answer.weight"] = found["answer.weight"][..., 0].contiguous()
    return found


@torch.inference_mode()
def answers(original: Any, sound: np.ndarray) -> np.ndarray:
    """sound: float32 [N], 16 kHz. Probabilities, one every 512 samples; the last window is filled up with silence."""
    original.reset_states()
    windows = torch.from_numpy(np.pad(sound, (0, -len(sound) % WINDOW))).view(-1, 1, WINDOW)
    return np.array([original(window, 16000).item() for window in windows], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--sounds", type=Path, nargs="+", default=[])
    args = parser.parse_args()
    original = torch.jit.load(str(args.source)).eval()
    header = {
        "source": "silero_vad/data/silero_vad.jit of the PyPI wheel silero-vad 6.2.3",
        "source_sha256": hashlib.sha256(args.source.read_bytes()).hexdigest(),
        "licence": "MIT, Copyright (c) 2020-present Silero Team",
    }
    save_safetensors(args.out, convert(original), header)
    if args.reference:
        # 16 bit: what a decoder gives differs a little from one version to the next
        sound = np.round(read_audio(args.sounds[0])[:64000] * 32767).astype(np.int16)
        found = {"sound": sound, "probability": answers(original, sound.astype(np.float32) / 32767)}
        found |= {clip.name: answers(original, read_audio(clip)) for clip in args.sounds[1:]}
        np.savez_compressed(args.reference, **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
