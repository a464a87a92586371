"""What an AudioPack costs: its control of ten minutes, and the adding of it beside a block of Wan2.1-VACE-1.3B.

python -m benchmarks.audiopack [--height 480] [--width 832] [--frames 25] [--device cpu] [--dtype float32]
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.shared.memory import memory_mb
from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig, latent_frames
from synclip_core.dubbing.control import control_of
from synclip_core.dubbing.injection import injected

TEN_MINUTES = 7500  # frames
BLOCKS = 30 + 15  # of the 1.3B: its own and those of VACE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    print(json.dumps(stream() | model(args.height, args.width, args.frames, device, dtype), indent=2))


def stream() -> dict[str, object]:
    """The control of a long token stream."""
    pack, tokens = AudioPack(AudioPackConfig()).eval(), torch.randn(TEN_MINUTES, 128)
    valid, before = torch.ones(TEN_MINUTES, dtype=torch.bool), memory_mb("VmHWM")
    start = time.perf_counter()
    control = control_of(pack, tokens, valid)
    seconds = time.perf_counter() - start
    return {
        "control_frames": TEN_MINUTES,
        "control_s": round(seconds, 3),
        "control_mb": round(control.packed.nbytes / 2**20, 2),
        "control_peak_mb": round(memory_mb("VmHWM") - before, 1),
    }


@torch.inference_mode()
def model(height: int, width: int, frames: int, device: torch.device, dtype: torch.dtype) -> dict[str, object]:
    """One block of the 1.3B against the look-up and addition of the control, which happens once a model call."""
    from diffusers.models.transformers.transformer_wan import WanTransformerBlock

    grid = (latent_frames(frames), height // 16, width // 16)
    count = grid[0] * grid[1] * grid[2]
    with torch.device(device):
        block = WanTransformerBlock(1536, 8960, 12, cross_attn_norm=True).to(dtype).eval()
        x, text, step = torch.randn(1, count, 1536), torch.randn(1, 512, 1536), torch.randn(1, 6, 1536)
        turn = torch.randn(1, count, 1, 128)
        embedded = torch.randn(1, 1536, *grid)
    x, text, step = (t.to(dtype) for t in (x, text, step))
    pack, tokens = AudioPack(AudioPackConfig()).eval(), torch.randn(frames, 128)
    control = control_of(pack, tokens, torch.ones(frames, dtype=torch.bool))
    plain = nn.Identity()

    def add() -> None:
        with injected(plain, control.on(grid[0], 0)):
            plain(embedded)

    seconds = {"block": timed(lambda: block(x, text, step, (turn, turn)), device, 2), "adding": timed(add, device, 20)}
    return {
        "embedding": [1, 1536, *grid],
        "block_ms": round(seconds["block"] * 1000, 2),
        "adding_ms": round(seconds["adding"] * 1000, 3),
        "share_of_a_call": float(f"{seconds['adding'] / (seconds['block'] * BLOCKS):.2g}"),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def timed(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Seconds, the least of so many times after a first one."""
    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found[1:])


if __name__ == "__main__":
    main()
