"""`python -m train.pretrain --config train/configs/tiny.yaml --out runs/tiny`: the paper's full objective, resumable.

Started again on the same folder it goes on from the last checkpoint. Each step draws its batch and its noise from
(seed, step), so a resumed run is the unbroken one.
"""

import argparse
import copy
import itertools
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import torch
from tqdm import tqdm

from synclip_core.checkpoint import read_safetensors, save_checkpoint, save_safetensors
from synclip_core.errors import SyncLipError
from synclip_core.models.config import to_dict
from synclip_core.models.pretrained import load_speech_encoder, load_vit, speech_config
from synclip_core.models.synclipmae import SyncLipMAE
from train.config import LEARNED_BY, OptimConfig, PretrainConfig, StageConfig, load_config
from train.data.sampling import ClipSource, ClipStore, Prefetcher, Sampler
from train.objective import pretraining_losses
from train.prompts import PromptStore
from train.run_state import follow, packed, parameter_groups, part, restore_optimizer
from train.validation import validate

SHOWN = ("contrastive", "video_mse", "geometry")  # losses on the progress bar


class Run:
    """Model, averages and optimiser of one run, and how they are kept on disk; `step` counts over all stages."""

    def __init__(self, config: PretrainConfig, out: Path, device: str) -> None:
        torch.manual_seed(config.seed)
        self.config, self.out = config, out
        self.model = build(config).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        self.ends = list(itertools.accumulate(stage.steps for stage in config.stages))
        self.step = 0
        self.begin_stage(0)

    @property
    def stage(self) -> StageConfig:
        return self.config.stages[self.stage_index]

    @property
    def stage_start(self) -> int:
        return self.ends[self.stage_index] - self.stage.steps

    def begin_stage(self, index: int) -> None:
        """Go on from the averaged weights, with what this stage learns and a fresh optimiser."""
        self.stage_index = index
        self.model.load_state_dict(self.average.state_dict())
        parts = LEARNED_BY[self.stage.learn]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in self.frozen and name.startswith(parts))
        groups = parameter_groups(self.model.parameters(), self.config.optim.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=self.stage.lr, betas=(0.9, 0.95))

    @property
    def state_path(self) -> Path:
        return self.out / "last.safetensors"

    def save(self) -> None:
        """Everything that a resume needs, as tensors: weights, averages, optimiser moments."""
        tensors = packed({"model": self.model, "average": self.average}, self.optimizer)
        header = {"step": str(self.step), "stage": str(self.stage_index), "config": json.dumps(to_dict(self.config))}
        save_safetensors(self.state_path, tensors, header)

    def resume(self) -> None:
        """Go on from the last checkpoint in the folder, if there is one. Raises SyncLipError when the model differs."""
        if not self.state_path.exists():
            return
        tensors, header = read_safetensors(self.state_path)
        stored, own = json.loads(header["config"]), json.loads(json.dumps(to_dict(self.config)))
        begun = int(header["stage"]) + 1  # stages to come may change
        if (stored["model"], stored["stages"][:begun]) != (own["model"], own["stages"][:begun]):
            raise SyncLipError(
                f"{self.state_path}: was written with another model or other stages; choose another --out folder"
            )
        self.average.load_state_dict(part(tensors, "average"))
        self.begin_stage(int(header["stage"]))
        self.model.load_state_dict(part(tensors, "model"))
        restore_optimizer(self.optimizer, tensors)
        self.step = int(header["step"])

    def export(self, path: Path, record: dict) -> None:
        """The averaged weights as an inference checkpoint."""
        save_checkpoint(path, self.average, {"training": record})


def build(config: PretrainConfig) -> SyncLipMAE:
    """The model of a config, started from the published weights that it names."""
    model_config = config.model
    if config.init.audio:
        audio = speech_config(config.init.audio)
        audio = replace(
            model_config.audio,
            front_end=audio.front_end,
            width=audio.width,
            depth=audio.depth,
            encoder=audio.encoder,
        )
        model_config = replace(model_config, audio=audio)
    model = SyncLipMAE(model_config)
    if config.init.audio:
        load_speech_encoder(model.front_end, config.init.audio)
    if config.init.visual:
        load_vit(model.visual, config.init.visual)
    return model


def learning_rate(step: int, stage: StageConfig, optim: OptimConfig) -> float:
    """Linear warm-up, then a cosine to `final_lr`; `step` counts from the stage's start."""
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    progress = min(1.0, (step - stage.warmup) / max(1, stage.steps - stage.warmup))
    return stage.lr * (optim.final_lr + (1 - optim.final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))


def train_step(run: Run, batch, device: str) -> dict[str, float]:
    """One optimiser step; a step whose gradient is not finite is skipped and says so in the log."""
    config = run.config
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.step - run.stage_start, run.stage, config.optim)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.optim.bf16):
        losses = pretraining_losses(run.model, batch, run.stage, config.augment, config.loss, generator)
    run.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()
    learned = [p for group in run.optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(learned, config.optim.clip)
    skipped = not bool(torch.isfinite(norm))
    if not skipped:
        run.optimizer.step()
        follow(run.average, run.model, config.optim.ema, run.step)
    run.step += 1
    values = {name: float(value.detach()) for name, value in losses.parts.items()}
    return {"total": float(losses.total.detach()), **values, "grad_norm": float(norm), "skipped": float(skipped)}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.pretrain", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML, for example train/configs/tiny.yaml")
    parser.add_argument("--out", default="runs/pretrain", help="folder of checkpoints and log.jsonl")
    parser.add_argument("--data", help="shards; overrides data.shards of the config")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--stop-at", type=int, help="end this call at that step; the schedule stays that of the config")
    options = parser.parse_args(arguments)
    try:
        pretrain(load_config(options.config), Path(options.out), options.data, options.device, options.stop_at)
    except SyncLipError as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("pretrain: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def pretrain(config: PretrainConfig, out: Path, shards: str | None, device: str, stop_at: int | None = None) -> None:
    """Train until `optim.steps`, validating and keeping checkpoints in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    folder, data = shards or config.data.shards, config.data
    store = ClipStore(folder, "train", data.cache_gb, data.holdout)
    checks = {"val": ClipStore(folder, "val", 1.0)}
    if data.holdout:
        checks["holdout"] = ClipStore(folder, "train", 1.0, data.holdout, held_out=True)
    run = Run(config, out, device)
    run.resume()
    end = min(run.ends[-1], stop_at or run.ends[-1])
    bar = tqdm(total=run.ends[-1], initial=run.step, desc="pretrain", unit="step")
    try:
        with open(out / "log.jsonl", "a", encoding="utf-8") as log:
            while run.step < end:
                if run.step >= run.ends[run.stage_index]:
                    run.begin_stage(run.stage_index + 1)
                train_stage(run, store, checks, end, bar, log)
    finally:
        bar.close()
    record = {"steps": run.step, "seed": config.seed, "config": to_dict(config)}
    run.export(out / "model.safetensors", record)


def train_stage(run: Run, store: ClipStore, checks: dict[str, ClipStore], end: int, bar: tqdm, log: TextIO) -> None:
    """Train to the end of the current stage or to step `end`."""
    config, stage, stop = run.config, run.stage, min(end, run.ends[run.stage_index])
    device = str(run.model.logit_scale.device)
    source: ClipSource = store
    if stage.learn == "alignment":
        source = PromptStore(run.model, store, stage, config.augment, config.seed)
    batches = Prefetcher(Sampler(source, config.data, stage, config.seed), run.step, stop)
    started, first = time.monotonic(), run.step
    bar.set_description(f"pretrain: {stage.learn}")

    def write(row: dict) -> None:
        log.write(json.dumps({"step": run.step, **row}) + "\n")
        log.flush()

    try:
        while run.step < stop:
            values = train_step(run, batches.next(), device)
            bar.update()
            if run.step % 10 == 0:
                bar.set_postfix({k: f"{v:.4f}" for k, v in values.items() if k in SHOWN})
                pace = (time.monotonic() - started) / (run.step - first)
                write({k: round(v, 5) for k, v in values.items()} | {"seconds_per_step": round(pace, 3)})
            if stage.learn != "vision" and (run.step % config.validate_every == 0 or run.step == stop):
                report = validate(run.average, checks)
                write({"validation": report})
                tqdm.write(f"step {run.step}: {json.dumps(report)}")
            if run.step % config.checkpoint_every == 0 or run.step == stop:
                run.save()
    finally:
        batches.close()


if __name__ == "__main__":
    sys.exit(main())
