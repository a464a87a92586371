"""`python -m train.finetune_dubbing --config train/configs/dubbing_toy.yaml --out runs/dubbing`: a dubbing model.

Started again on the same folder it goes on from the last checkpoint. Written at every validation, of the averaged
weights: OUT/audiopack.safetensors; in ComfyUI's layout OUT/transformer.safetensors, or, where a published model was
fine-tuned, OUT/vace_delta.safetensors or OUT/vace_lora.safetensors (LoRA files to ComfyUI, both). OUT/samples shows
clips of the validation split.
"""

import argparse
import copy
import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from synclip_core.checkpoint import Checkpoint, load_checkpoint
from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig
from synclip_core.dubbing.audiopack_file import load_audiopack
from synclip_core.dubbing.vace import edit_mask
from synclip_core.errors import SyncLipError
from train.data.noise import Noise
from train.data.sampling import ClipStore
from train.dubbing.config import DubbingConfig
from train.dubbing.dubber import Dubber, generate, to_lesson, to_segment
from train.dubbing.export import export
from train.dubbing.latents import CachedCodec
from train.dubbing.supervision import Supervisor, open_supervisor
from train.dubbing.tokens import load_tokens
from train.dubbing.wan.codecs import open_codec
from train.dubbing.wan.patches import add_lora, patchable
from train.dubbing.wan.transformers import open_prompt, open_transformer
from train.dubbing.windows import Cut, DubBatch, Windows
from train.engine import distributed
from train.engine.journal import Journal
from train.engine.one_process import MakeEngine, OneProcess, advance, launched
from train.engine.pictures import sheet
from train.engine.run_state import average_decay, parameter_groups, part, read_run, save_run
from train.pretrain.config import StageConfig, read_config
from train.pretrain.run import learning_rate

JUDGED = 12  # clips of the validation split
STEPS = 12  # of the pictures' sampling


class Run:
    """The dubber, its average, the engine, and how they are kept on disk."""

    def __init__(
        self,
        config: DubbingConfig,
        checkpoint: Checkpoint,
        out: Path,
        device: str = "cpu",
        make_engine: MakeEngine = OneProcess,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.checkpoint, self.out = config, checkpoint, out
        self.device, self.make_engine = torch.device(device), make_engine
        transformer = open_transformer(config)
        prompt = open_prompt(config.prompt, transformer.config.text_dim) if config.prompt else None
        if config.trained == "lora":
            add_lora(transformer, config.lora_rank)
        dubber = Dubber(transformer, self._pack(transformer.inner_dim), prompt)
        if config.trained == "vace":
            for name, parameter in dubber.transformer.named_parameters():
                parameter.requires_grad_(patchable(name))
        if config.optim.checkpointing:
            dubber.transformer.enable_gradient_checkpointing()
        self.dubber = dubber.to(self.device).train()
        self.average = copy.deepcopy(self.dubber).eval().requires_grad_(False)
        self.codec = open_codec(config.vae)
        if isinstance(self.codec, torch.nn.Module):
            self.codec.to(self.device)
        if config.data.latents_gb:
            self.codec = CachedCodec(self.codec, out / "latents", config.data.latents_gb)
        self.supervisor: Supervisor | None = None  # of the losses on decoded frames, where some are on
        self.step = 0
        if not self.state_path.exists():
            self.begin()

    def _pack(self, width: int) -> AudioPack:
        config, tokens = self.config, self.checkpoint.model.config
        if not config.pack_path:
            return AudioPack(AudioPackConfig(width, tokens.dim, tokens.profile, **vars(config.pack)))
        file = load_audiopack(config.pack_path)
        file.check(self.checkpoint.sha256, tokens.dim)
        file.check_width(width)
        return file.network

    def begin(self) -> None:
        """The weights as they are now are what the engine moves."""
        decay = self.config.optim.weight_decay
        groups = parameter_groups(self.dubber.transformer.parameters(), decay)
        pack = parameter_groups(self.dubber.pack.parameters(), decay)
        groups += [{**group, "share": self.config.pack_lr} for group in pack]
        self.engine = self.make_engine(self.dubber, self.dubber, groups, self.config.optim)

    def learn(self, batch: DubBatch) -> dict[str, float]:
        """One optimiser step; a gradient that is not finite is skipped and counted."""
        config = self.config
        stage = StageConfig(steps=config.steps, lr=config.lr, warmup=config.warmup)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = group.get("share", 1.0) * learning_rate(self.step, stage, config.optim)
        noise = Noise.of(config.seed, self.step, batch.slots)
        lesson = to_lesson(batch, self.codec, config, noise, self.device)
        supervise = None if self.supervisor is None else partial(self.supervisor, batch=batch)
        loss, parts = self.engine.forward(lesson, config, noise, supervise)
        told = advance(self.engine, loss, self.average, 1 - average_decay(config.optim.ema, self.step), self.step)
        self.step += 1
        values = {name: float(value) for name, value in parts.items()}
        return {"loss": float(loss.detach()), **values, **told}

    @property
    def state_path(self) -> Path:
        return self.out / "last.safetensors"

    def save(self) -> None:
        """See run_state.save_run."""
        save_run(self.state_path, self.engine, self.average, self.config, {"step": self.step})

    def resume(self) -> None:
        """Go on from the folder's last checkpoint. Raises SyncLipError where it belongs to another config."""
        if not self.state_path.exists():
            return
        tensors, header = read_run(self.state_path, self.config)
        self.dubber.load_state_dict(part(tensors, "model"))
        self.average.load_state_dict(part(tensors, "average"))
        self.begin()
        self.engine.restore(tensors)
        self.step = int(header["step"])

    def export(self, record: dict, margin: float) -> None:
        """The averaged weights, with what crops they know."""
        metadata = {
            "training": {"steps": self.step, "seed": self.config.seed, **record},
            "crop": {"size": self.config.data.size, "margin": margin},
            "shift": self.config.shift,
        }
        export(self.out, self.average, self.config, self.checkpoint.sha256, metadata)


def judged(windows: Windows) -> list[Cut]:
    """Samples of the validation split, evenly over its clips: each from its middle, its identity from its begin."""
    keys = sorted(key for keys in windows.sources for key in keys)
    found = []
    for key in keys[:: max(1, len(keys) // JUDGED)][:JUDGED]:
        starts = windows.starts(key)
        found.append(Cut(key, int(starts[len(starts) // 2]), 0, "audio"))
    return found


@torch.inference_mode()
def judge(run: Run, windows: Windows) -> dict[str, float]:
    """The loss in the hole for either stream and for none, on the same samples with the same noise."""
    cuts, told = judged(windows), {}
    plain = replace(run.config, history_noise=0.0)
    for stream in ("audio", "vocal", "none"):
        batch = windows.collect([Cut(cut.key, cut.first, cut.identity, stream) for cut in cuts], history=True)
        noise = Noise.of(0, 0, range(len(cuts)))
        _, parts = run.average(to_lesson(batch, run.codec, plain, noise, run.device), plain, noise)
        told[stream] = float(parts["hole"])
    return told


@torch.inference_mode()
def draw(run: Run, windows: Windows, rows: int = 6) -> "tuple[list[str], list[list[Tensor]]]":
    """Columns and rows for `sheet`: the middle frame of samples, and what each stream makes of it."""
    cuts = judged(windows)[::2][:rows]
    made = []
    for stream in ("audio", "vocal", "none"):
        batch = windows.collect([Cut(cut.key, cut.first, cut.identity, stream) for cut in cuts], history=True)
        latents = generate(
            run.average, to_segment(batch, run.codec, run.device), STEPS, torch.Generator().manual_seed(0)
        )
        made.append(run.codec.decode(latents))
    middle = batch.video.shape[1] // 2
    source = batch.video[:, middle].float() / 255
    hole = edit_mask(source.shape[1], batch.margin)[..., None]
    coded = run.codec.decode(run.codec.encode(batch.video.to(run.device).float() / 255))[:, middle].cpu()
    pictures = [batch.identity.float() / 255, source, source * (1 - hole) + 0.5 * hole, coded]
    pictures += [frames[:, middle].cpu() for frames in made]
    columns = ["identity", "source", "given", "coded", "audio", "vocal", "no tokens"]
    return columns, [list(row) for row in zip(*pictures, strict=True)]


def finetune(
    config: DubbingConfig,
    out: Path,
    stop_at: int | None = None,
    device: str = "cpu",
    make_engine: MakeEngine = OneProcess,
) -> None:
    """Train to `config.steps` (or `stop_at`)."""
    checkpoint = load_checkpoint(config.checkpoint or None)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(config, checkpoint, out, device, make_engine)
    run.resume()
    splits = {}
    for split, room in (("train", config.data.cache_gb), ("val", 0.5)):
        store = ClipStore(config.data.shards, split, room)
        tokens = load_tokens(checkpoint, store, out / "tokens")
        splits[split] = Windows(store, tokens, config, run.dubber.pack.config.reach)
        if split == "train":
            run.supervisor = open_supervisor(config.losses, run.codec, checkpoint, store, tokens, run.device)
    end = min(config.steps, stop_at or config.steps)
    quiet = True if distributed.rank() else None
    with tqdm(total=config.steps, initial=run.step, desc="finetune_dubbing", unit="step", disable=quiet) as bar:
        with Journal(out) as journal:
            train(run, splits["train"], splits["val"], end, bar, journal)


def train(run: Run, windows: Windows, val: Windows, end: int, bar: tqdm, journal: Journal) -> None:
    """To step `end`."""
    config, began, first = run.config, time.monotonic(), run.step
    place = distributed.rank() * config.clips
    while run.step < end:
        values = run.learn(windows.draw(run.step, range(place, place + config.clips)))
        bar.update()
        if run.step % 10 == 0:
            pace = (time.monotonic() - began) / (run.step - first)
            bar.set_postfix({k: f"{values[k]:.3f}" for k in ("loss", "hole")})
            distributed.by_first(partial(journal.write, run.step, values | {"seconds_per_step": pace}))
        if run.step % config.validate_every == 0 or run.step == config.steps:
            distributed.by_first(partial(show, run, val, journal))
        if run.step % config.checkpoint_every == 0 or run.step == end:
            run.save()


def show(run: Run, val: Windows, journal: Journal) -> None:
    """Judge on the validation split, draw, and write the weights."""
    told = judge(run, val)
    journal.write(run.step, {"val": told})
    journal.picture(run.step, sheet(*draw(run, val)))
    tqdm.write(f"step {run.step}: {json.dumps(told)}")
    run.export({"val": told}, val.margin)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.finetune_dubbing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, help="YAML, for example train/configs/dubbing_toy.yaml")
    parser.add_argument("--out", default="runs/dubbing", type=Path, help="folder of checkpoints, samples, log.jsonl")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--deepspeed", metavar="JSON", help="train with DeepSpeed, as train.pretrain does")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher passes it
    options = parser.parse_args(arguments)
    try:
        config = read_config(DubbingConfig, options.config)
        device, make_engine = launched(options.device, options.deepspeed)
        finetune(config, options.out, None, device, make_engine)
    except SyncLipError as error:
        print(f"finetune_dubbing: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("finetune_dubbing: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    finally:
        distributed.leave()
    return 0
