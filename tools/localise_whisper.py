"""`python -m tools.localise_whisper --data SHARDS --weights whisper_tiny_en.safetensors --out local.safetensors`

Teaches Whisper with attention in a band (models/audio/local_whisper.py) to say what the published encoder says
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

from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors, save_safetensors
from synclip_core.models.audio.local_whisper import LocalWhisper
from synclip_core.models.audio.whisper import POSITIONS, ROW, WhisperFrontEnd
from synclip_core.models.config import AudioConfig
from synclip_core.models.pretrained import load_speech_encoder, speech_config
from train.data.sampling import ClipStore
from train.data.shards import RATE

STRETCH = POSITIONS * ROW  # samples that the published encoder takes at once


def published(path: Path) -> WhisperFrontEnd:
    """The encoder as it was published. Raises SyncLipError where the file is none."""
    config = speech_config(path)
    if config.encoder.get("band") != 0:
        raise SyncLipError(f"{path}: is no published Whisper encoder; see tools/convert_whisper.py")
    encoder = WhisperFrontEnd(config)
    load_speech_encoder(encoder, path)
    return encoder


def banded(encoder: WhisperFrontEnd) -> LocalWhisper:
    """The same weights with attention in a band, not taught yet."""
    width, layers = encoder.conv1.out_channels, len(encoder.layers)
    sizes = {"mels": encoder.conv1.in_channels}
    student = LocalWhisper(AudioConfig("whisper", align="rows", width=width, depth=layers + 1, encoder=sizes))
    student.load_state_dict(student.state_dict() | encoder.state_dict())
    return student


def localise(
    sound: Tensor, encoder: WhisperFrontEnd, steps: int, minutes: float, batch: int, lr: float
) -> tuple[LocalWhisper, dict[str, object]]:
    """sound: int16 [N], 16 kHz, on the device. Ends after `steps`, or sooner after `minutes`. Raises SyncLipError where
    there is less sound than a stretch."""
    if len(sound) <= STRETCH:
        raise SyncLipError(f"{len(sound) / RATE:.0f} s of sound in all; expected more than a stretch of 30 s")
    device = sound.device
    teacher, student = encoder.to(device), banded(encoder).to(device).requires_grad_(True)
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
            start = torch.randint(0, len(sound) - STRETCH, (batch, 1), generator=generator, device=device)
            wave = sound[start + torch.arange(STRETCH, device=device)].float() / 32767
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                with torch.no_grad():
                    told = [x.float() - teacher.positions for x in teacher.streams(wave)[1:]]
                said = student.streams(student.log_mel(wave))[1:]
            losses = [_apart(x.float(), y + student.place) for x, y in zip(said, told, strict=True)]
            loss = torch.stack(losses).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            step += 1
            bar.update()
            if step % 50 == 0:
                log.append([round(x.item(), 4) for x in losses])
                bar.set_postfix(apart=f"{loss.item():.4f}")
    return student.requires_grad_(False), {"steps": step, "batch": batch, "lr": lr, "log": log}


def _apart(said: Tensor, told: Tensor) -> Tensor:
    """Mean square of the difference of rows that are brought to mean 0 and deviation 1 each, as the next block reads
    them: 0 to 4, 2 where they have nothing in common."""
    width = told.shape[-1:]
    return (F.layer_norm(said, width) - F.layer_norm(told, width)).square().mean()


def read_sound(folder: Path, device: str) -> Tensor:
    """All sound of the training split end to end, int16 [N]."""
    store = ClipStore(folder, "train", 0.1)
    parts = [store[key].audio for key in tqdm(sorted(store.meta), desc="sound", unit="clip")]
    return torch.cat([(torch.from_numpy(part) * 32767).round().short() for part in parts]).to(device)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.localise_whisper", description=__doc__)
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
        encoder, (_, header) = published(options.weights), read_safetensors(options.weights, header_only=True)
        sound = read_sound(options.data, options.device)
        student, record = localise(sound, encoder, options.steps, options.minutes, options.batch, options.lr)
        tensors = {name: t.cpu().half().contiguous() for name, t in student.state_dict().items()}
        save_safetensors(options.out, tensors, header | {"localised": json.dumps(record)})
    except SyncLipError as error:
        print(f"localise_whisper: {error}", file=sys.stderr)
        return 4
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
