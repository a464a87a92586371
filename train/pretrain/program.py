"""`python -m train.pretrain --config train/configs/tiny.yaml --out runs/tiny`: the paper's full objective, resumable.

Started again on the same folder it goes on from the last checkpoint. Each step draws its batch and its noise from
(seed, step), so a resumed run is the unbroken one, whatever killed it and however many processes go on.

Many GPUs, with DeepSpeed, by any of

    deepspeed --num_gpus 8 --module train.pretrain --deepspeed train/configs/deepspeed/zero2.json --config ... --out ...
    torchrun --nproc_per_node 8 -m train.pretrain --deepspeed train/configs/deepspeed/zero2.json --config ... --out ...
    srun --ntasks-per-node 8 python -m train.pretrain --deepspeed ...       (train/slurm/pretrain.sbatch)
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from synclip_core.cli.shared.options import positive
from synclip_core.errors import SyncLipError
from synclip_core.files.settings import to_dict
from train.data.heard import hear_all
from train.data.resident import ResidentClips, ResidentSampler, refresh_offsets, resident_prompts
from train.data.sampling import ClipSource, ClipStore, Prefetcher, Sampler
from train.engine import distributed
from train.engine.journal import Journal
from train.engine.one_process import MakeEngine, OneProcess, launched
from train.pretrain.config import PretrainConfig, load_config
from train.pretrain.prompts import PromptStore
from train.pretrain.run import Run
from train.pretrain.samples import draw_samples
from train.pretrain.validation import validate

SHOWN = ("contrastive", "video_mse", "geometry")  # losses on the progress bar
SAVE_S = 600.0  # seconds that a kill may cost, however many steps that is
JUDGED_BY = "acc@5"  # mean over the groups of clips: the checkpoint with the highest one is the best


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.pretrain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="YAML, for example train/configs/tiny.yaml")
    parser.add_argument("--out", default="runs/pretrain", help="folder of checkpoints, log.jsonl and samples")
    parser.add_argument("--data", help="shards; overrides data.shards of the config")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--stop-at", type=positive, metavar="STEP", help="end this call at that step; the schedule stays the config's"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="let the last stage end that long after the start of the program, its rate coming down in time; 0: off",
    )
    parser.add_argument("--deepspeed", metavar="JSON", help="settings of DeepSpeed, as in train/configs/deepspeed/")
    parser.add_argument("--tensorboard", action="store_true", help="write OUT/tensorboard as well")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher passes it
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        device, make_engine = launched(options.device, options.deepspeed)
        journal = Journal(Path(options.out), options.tensorboard)
        pretrain(
            config, Path(options.out), options.data, device, options.stop_at, make_engine, journal, options.minutes
        )
    except SyncLipError as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("pretrain: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    finally:
        distributed.leave()
    return 0


def pretrain(
    config: PretrainConfig,
    out: Path,
    shards: str | None,
    device: str,
    stop_at: int | None = None,
    make_engine: MakeEngine = OneProcess,
    journal: Journal | None = None,
    minutes: float = 0.0,
) -> None:
    """Train to the end of the last stage, or until `minutes` are over, validating and keeping checkpoints in `out`: the
    last state, the averaged weights of the end (model.safetensors) and of the best validation (best.safetensors)."""
    began = time.monotonic()
    if distributed.size() > 1 and (minutes or config.data.resident):
        raise SyncLipError("--minutes and data.resident are for one process; leave them out with --deepspeed")
    journal = journal or Journal(out)
    folder, data = shards or config.data.shards, config.data
    store: ClipStore | ResidentClips = ClipStore(folder, "train", data.cache_gb, data.holdout)
    if data.resident:
        store = ResidentClips(store, device)
    checks = {"val": ClipStore(folder, "val", 1.0)}
    if data.holdout:
        checks["holdout"] = ClipStore(folder, "train", 1.0, data.holdout, held_out=True)
    run = Run(config, out, device, make_engine, begin=not (out / "last.safetensors").exists())
    run.resume()
    run.end_after(minutes, began)
    if isinstance(store, ResidentClips) and data.heard:
        strength = config.augment.sound
        store.heard = hear_all(run.average, store, data.heard, strength, config.seed, out / "heard")
    end = min(run.ends[-1], stop_at or run.ends[-1])
    first = distributed.rank() == 0
    with tqdm(total=run.ends[-1], initial=run.step, desc="pretrain", unit="step", disable=not first) as bar, journal:
        if config.init.model and run.step == 0:  # what training has to beat; until then the best one is the start
            distributed.by_first(lambda: judge(run, checks, journal))
        while run.step < end and run.progress < 1:
            if run.step >= run.ends[run.stage_index]:
                run.begin_stage(run.stage_index + 1)
            train_stage(run, store, checks, end, bar, journal)
    distributed.by_first(lambda: run.export(out / "model.safetensors", record_of(run)))


def record_of(run: Run) -> dict:
    return {"steps": run.step, "seed": run.config.seed, "config": to_dict(run.config)}


def train_stage(
    run: Run, store: ClipStore | ResidentClips, checks: dict[str, ClipStore], end: int, bar: tqdm, journal: Journal
) -> None:
    """Train to the end of the current stage or to step `end`; where the run fell back to a checkpoint, from there."""
    config, stage, stop = run.config, run.stage, min(end, run.ends[run.stage_index])
    sampler: Sampler | ResidentSampler
    if isinstance(store, ResidentClips):
        resting = stage.learn == "alignment"
        store.prompts = resident_prompts(run.average, store, stage, config.augment, config.seed) if resting else None
        sampler = ResidentSampler(store, config.data, stage, config.seed, run.clips)
    else:
        source: ClipSource = store
        if stage.learn == "alignment":
            source = PromptStore(run.average, store, stage, config.augment, config.seed)
        sampler = Sampler(source, config.data, stage, config.seed, run.clips)
    slots = run.slots()
    batches = Prefetcher(sampler, _asked(run.step, stop, slots))
    started, first, data = time.monotonic(), run.step, config.data
    saved = started
    bar.set_description(f"pretrain: {stage.learn}")
    refreshed = not data.refresh_offsets_at
    try:
        over = run.step >= stop or run.progress >= 1
        while not over:
            step = run.step
            done = max(run.progress, (step - run.stage_start) / stage.steps)
            if not refreshed and isinstance(store, ResidentClips) and done >= data.refresh_offsets_at:
                journal.write(step, {"offsets": refresh_offsets(run.average, store)})
                refreshed = True
            values = run.learn([batches.next() for _ in slots])
            bar.update(run.step - step)
            if run.step <= step:
                distributed.by_first(partial(journal.write, run.step, {"fell_back_from": step}))
                return
            if run.step % 10 == 0:
                bar.set_postfix({k: f"{v:.4f}" for k, v in values.items() if k in SHOWN})
                gone = time.monotonic() - started
                pace = {"seconds_per_step": gone / (run.step - first), "data_wait": batches.waited / gone}
                row = values | pace | {"refused": float(len(sampler.refused))}
                distributed.by_first(partial(journal.write, run.step, row))
            over = run.step == stop or run.progress >= 1
            if stage.learn != "vision" and (run.step % config.validate_every == 0 or over):
                distributed.by_first(lambda: judge(run, checks, journal))
            if run.step % config.checkpoint_every == 0 or over or due(saved):
                run.save()
                saved = time.monotonic()
    finally:
        batches.close()


def due(saved: float) -> bool:
    """Is it long since the last checkpoint? Processes that share a run all save at the same steps, so only one asks."""
    return distributed.size() == 1 and time.monotonic() - saved > SAVE_S


def _asked(step: int, stop: int, slots: list[range]) -> Iterator[tuple[int, range]]:
    for number in range(step, stop):
        for part in slots:
            yield number, part


def judge(run: Run, checks: dict[str, ClipStore], journal: Journal) -> None:
    """Sync tables and sample pictures of the averaged weights, by the first process; the best ones are exported."""
    report = validate(run.average, checks)
    journal.write(run.step, {"validation": report})
    tqdm.write(f"step {run.step}: {json.dumps(report)}")
    if run.stage.learn == "all":
        journal.picture(run.step, draw_samples(run.average, checks["val"]))
    mean = sum(group[JUDGED_BY] for group in report.values()) / max(1, len(report))
    if mean > run.best:
        run.export(run.out / "best.safetensors", record_of(run) | {"validation": report})
        run.best = mean


if __name__ == "__main__":
    sys.exit(main())
