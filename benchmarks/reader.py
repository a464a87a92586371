"""`python -m benchmarks.reader --data RUNS/data`: does the reader keep up with the trainer?

Prints JSON, for each kind of stage in a config. decoded: frames a second that one core decodes from shards; cold and
warm: frames of batches a second and core, the clips not seen before or in the cache; wait: the share of the time in
which a run of its model waits for batches, each drawn when it is needed (alone) or ahead, as train.pretrain does it,
and the seconds of a step without the waiting; stage_share: of the whole stage at most, in which every clip of the split
is decoded once while the trainer stands still. Clips are the first --clips of the training split.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from train.data.sampling import ClipSource, ClipStore, Prefetcher, Sampler
from train.pretrain.config import PretrainConfig, StageConfig, load_config
from train.pretrain.prompts import PromptStore
from train.pretrain.run import Run


def store_of(folder: str, config: PretrainConfig, clips: int) -> ClipStore:
    """The first clips of the training split, none of them decoded yet."""
    store = ClipStore(folder, "train", config.data.cache_gb, config.data.holdout)
    for key in sorted(store.meta)[clips:]:
        del store.meta[key], store.samples[key]
    return store


def pace(sampler: Sampler, steps: range) -> float:
    """Frames a second of CPU time, over all threads of the decoder."""
    began, frames = time.process_time(), 0
    for step in steps:
        frames += sampler.batch(step).valid.numel()
    return round(frames / (time.process_time() - began), 1)


def waiting(run: Run, sampler: Sampler, steps: int, ahead: bool) -> dict[str, float]:
    """Train for some steps as train.pretrain does, the batches drawn ahead or each when it is needed."""
    first, whole = run.step, range(sampler.clips)
    began, waited = time.monotonic(), 0.0
    if ahead:
        batches = Prefetcher(sampler, ((first + k, whole) for k in range(steps)))
    for step in range(first, first + steps):
        asked = time.monotonic()
        batch = batches.next() if ahead else sampler.batch(step)
        waited += time.monotonic() - asked
        run.learn([batch])
    gone = time.monotonic() - began
    return {"share": round(waited / gone, 4), "step_s": round((gone - waited) / steps, 3)}


def measure(config: PretrainConfig, index: int, options: argparse.Namespace) -> dict[str, object]:
    stage = config.stages[index]
    report: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as out:
        run = Run(config, Path(out), "cpu")
    run.begin_stage(index)
    run.step = run.stage_start

    def sampler(cold: bool = False) -> Sampler:
        source: ClipSource = store_of(options.data, config, options.clips) if cold else warm
        if stage.learn == "alignment":
            source = prompts
        return Sampler(source, config.data, stage, config.seed)

    warm = store_of(options.data, config, options.clips)
    began = time.process_time()
    frames = sum(len(warm[key]) for key in warm.meta)
    rate = frames / (time.process_time() - began)
    report["decoded_frames_per_core_s"] = round(rate, 1)
    if stage.learn == "alignment":  # computes all prompts before it begins, and decodes nothing then
        prompts = PromptStore(run.average, warm, stage, config.augment, config.seed)
    kinds = ("warm",) if stage.learn == "alignment" else ("cold", "warm")
    for kind in kinds:
        report[f"{kind}_frames_per_core_s"] = pace(sampler(kind == "cold"), range(10**6, 10**6 + 3))
    run.learn([sampler().batch(10**6)])  # the first step makes what later ones have
    for kind in kinds:
        for ahead in (False, True):
            steps = options.steps if kind == "warm" else max(2, options.steps // 4)
            found = waiting(run, sampler(kind == "cold"), steps, ahead)
            report[f"{kind}_wait_{'ahead' if ahead else 'alone'}"] = found
    split = ClipStore(options.data, "train", config.data.cache_gb, config.data.holdout).meta.values()
    once = sum(meta["frames"] for meta in split) / rate if stage.learn != "alignment" else 0.0
    stands = once + stage.steps * found["step_s"] * found["share"] / (1 - found["share"])
    report["stage_share"] = round(stands / (stands + stage.steps * found["step_s"]), 4)
    return report


def kinds(stages: tuple[StageConfig, ...]) -> list[int]:
    """The first stage of each kind."""
    seen = [stage.learn for stage in stages]
    return [seen.index(kind) for kind in dict.fromkeys(seen)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="shards, as for train.pretrain")
    parser.add_argument("--config", default="train/configs/tiny.yaml")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12, help="warm steps that are timed, a quarter of them cold")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config(options.config)
    report: dict[str, object] = {"threads": options.threads, "cores": os.cpu_count(), "clips": options.clips}
    for index in kinds(config.stages):
        stage = config.stages[index]
        shape = f"{stage.learn}_{stage.clips}x{stage.frames}"
        report[shape] = measure(config, index, options)
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
