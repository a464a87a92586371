"""`python -m train.localise_whisper --data SHARDS --weights whisper_tiny_en.safetensors --out local.safetensors`

Teaches Whisper with attention in a band (synclip_core/models/local_whisper.py) to say what the published encoder says
of the same sound: 30 s of it, layer by layer, but for the teacher's positions, which no row of the student can know.
Sound is not degraded here: what noise and rooms do to the layers is the adapter's to learn. --weights: the encoder in
transformers' names (tools/convert_whisper.py). No text is used, and no picture.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from synclip_core.checkpoint import read_safetensors, save_safetensors
from synclip_core.errors import SyncLipError
from synclip_core.models.config import AudioConfig
from synclip_core.models.local_whisper import LocalWhisper
from synclip_core.models.whisper import ROW, sinusoids
from train.data.sampling import ClipStore
from train.data.shards import RATE

SECONDS = 30
ROWS = SECONDS * RATE // ROW


class Teacher:
    """The published encoder as transformers has it."""

    def __init__(self, weights: dict[str, Tensor], config: AudioConfig, device: str) -> None:
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        width, layers = config.width, config.depth - 1
        sizes = {"d_model": width, "encoder_layers": layers, "encoder_attention_heads": width // 64}
        self.encoder = WhisperEncoder(WhisperConfig(**sizes, encoder_ffn_dim=4 * width, num_mel_bins=80))
        self.encoder.load_state_dict(weights)
        self.encoder.to(device).requires_grad_(False).eval()
        self.position = sinusoids(ROWS, width).to(device)

    @torch.no_grad()
    def layers(self, mel: Tensor) -> list[Tensor]:
        """mel: [B, 80, 3000], floor not yet applied. Each block's output without its position, [B, 1500, width]."""
        floor = mel.amax((1, 2), keepdim=True) - 2.0  # 80 dB, in Whisper's scale of four tens a unit
        found: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _, __, out: found.append(out[0] if isinstance(out, tuple) else out))
            for block in self.encoder.layers
        ]
        self.encoder(mel.maximum(floor))
        for hook in hooks:
            hook.remove()
        return [x - self.position for x in found]


def encoder_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str], AudioConfig]:
    """Tensors without a prefix, the file's header, and the sizes. Raises SyncLipError where it is no Whisper."""
    tensors, header = read_safetensors(path)
    named = {name.split("encoder.", 1)[1]: t.float() for name, t in tensors.items() if "encoder." in name}
    named = {k: v for k, v in named.items() if not k.startswith("decoder")}
    if "conv1.weight" not in named:
        raise SyncLipError(f"{path}: no Whisper encoder in transformers' names; see tools/convert_whisper.py")
    layers = len({name.split(".")[1] for name in named if name.startswith("layers.")})
    width = named["conv1.weight"].shape[0]
    return named, header, AudioConfig("whisper", align="rows", width=width, depth=layers + 1, norm_layers=True)


def student_of(weights: dict[str, Tensor], config: AudioConfig) -> LocalWhisper:
    """The banded encoder started from the published weights."""
    student = LocalWhisper(config)
    wanted = student.state_dict()
    student.load_state_dict(wanted | {name: t for name, t in weights.items() if name in wanted})
    return student


def localise(
    sound: Tensor, weights: dict[str, Tensor], config: AudioConfig, steps: int, minutes: float, batch: int, lr: float
) -> tuple[LocalWhisper, dict[str, object]]:
    """sound: int16 [N], 16 kHz, on the device. Ends after `steps`, or sooner after `minutes`."""
    device = str(sound.device)
    teacher, student = Teacher(weights, config, device), student_of(weights, config).to(device)
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=0.0)
    generator = torch.Generator(device).manual_seed(0)
    began, log, step = time.monotonic(), [], 0
    with tqdm(total=steps, desc="localise", unit="step") as bar:
        while step < steps:
            share = max(step / steps, (time.monotonic() - began) / (60 * minutes))
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
            start = torch.randint(0, len(sound) - SECONDS * RATE, (batch, 1), generator=generator, device=device)
            wave = sound[start + torch.arange(SECONDS * RATE, device=device)].float() / 32767
            with torch.autocast(sound.device.type, torch.bfloat16, enabled=sound.device.type == "cuda"):
                told = teacher.layers(student.log_mel(wave))
                said = student.streams(student.log_mel(wave))[1:]
            losses = [_apart(x.float(), y.float() + student.place) for x, y in zip(said, told, strict=True)]
            loss = torch.stack(losses).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            step += 1
            bar.update()
            if step % 50 == 0:
                log.append([round(float(x), 4) for x in losses])
                bar.set_postfix(apart=f"{float(loss):.4f}")
    return student.requires_grad_(False), {"steps": step, "batch": batch, "lr": lr, "log": log}


def _apart(said: Tensor, told: Tensor) -> Tensor:
    """1 - R2 of rows that are brought to mean 0 and deviation 1 each, as the next block reads them."""
    width = told.shape[-1:]
    return (F.layer_norm(said, width) - F.layer_norm(told, width)).square().mean()


def read_sound(folder: Path, device: str) -> Tensor:
    """All sound of the training split end to end, int16 [N]."""
    store = ClipStore(folder, "train", 0.1)
    parts = [store[key].audio for key in tqdm(sorted(store.meta), desc="sound", unit="clip")]
    return torch.cat([(torch.from_numpy(part) * 32767).round().short() for part in parts]).to(device)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.localise_whisper", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="shards of train.prepare")
    parser.add_argument("--weights", required=True, type=Path, help="Whisper's encoder (.safetensors)")
    parser.add_argument("--out", required=True, type=Path, help="the banded encoder (.safetensors, half precision)")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=1e9, help="end sooner")
    parser.add_argument("--batch", type=int, default=16, help="stretches of 30 s a step")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    try:
        weights, header, config = encoder_weights(options.weights)
        sound = read_sound(options.data, options.device)
        student, record = localise(sound, weights, config, options.steps, options.minutes, options.batch, options.lr)
        tensors = {name: t.cpu().half().contiguous() for name, t in student.state_dict().items()}
        save_safetensors(options.out, tensors, header | {"localised": json.dumps(record)})
    except SyncLipError as error:
        print(f"localise_whisper: {error}", file=sys.stderr)
        return 4
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
