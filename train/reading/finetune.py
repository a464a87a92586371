"""`python -m train.finetune_vsr --config train/configs/vsr_grid.yaml --out runs/vsr`: lip reading on vocal tokens.

The visual encoder rests unless the config says `unfreeze: encoder`: its prompts are computed once and kept in
OUT/features. Started again on the same folder it goes on from the last checkpoint. OUT/reader.safetensors, the best on
the validation split, is what `synclip transcribe --reader` takes; where more than the reader learned,
OUT/model.safetensors goes with it.
"""

import argparse
import copy
import json
import math
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from synclip_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.settings import to_dict
from synclip_core.reading.network import LipReader, VsrConfig
from synclip_core.reading.read import read_lips
from synclip_core.reading.reader_file import Reader, load_reader, save_reader
from train.data.noise import Noise
from train.data.texts import read_corpus
from train.engine import distributed
from train.engine.journal import Journal
from train.engine.one_process import MakeEngine, OneProcess, advance, launched
from train.engine.run_state import average_decay, parameter_groups, part, read_run, save_run
from train.pretrain.config import OptimConfig, read_config
from train.reading.batches import Batches, VsrBatch
from train.reading.config import VsrTrainConfig
from train.reading.features import Utterance, load_crops, load_utterances
from train.reading.score import ErrorRate
from train.reading.student import Student
from train.reading.units import Characters, Pieces, Speller


class Run:
    """Student, its average and the optimiser, and how they are kept on disk."""

    def __init__(
        self,
        config: VsrTrainConfig,
        checkpoint: Checkpoint,
        units: tuple[str, ...],
        out: Path,
        device: str = "cpu",
        make_engine: MakeEngine = OneProcess,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.checkpoint, self.out = config, checkpoint, out
        self.device, self.make_engine = device, make_engine
        sizes = to_dict(config.reader)
        reader = LipReader(
            VsrConfig(units=units, dim=checkpoint.model.config.dim, window_s=config.data.longest_s, **sizes)
        )
        if config.init:
            start = load_reader(config.init)
            start.check(checkpoint.sha256)
            if start.network.config != reader.config:
                raise SyncLipError(f"{config.init}: this reader has other sizes or characters than the config asks for")
            reader.load_state_dict(start.network.state_dict())
        self.student = Student(copy.deepcopy(checkpoint.model), reader, config).to(device).train()
        self.average = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.step, self.best = 0, math.inf
        if not self.state_path.exists():
            self.begin()

    def begin(self) -> None:
        """The weights as they are now are what the engine moves."""
        config = self.config
        # what was pretrained moves more slowly than what begins at random
        began = self.student.reader.parameters() if config.unfreeze == "encoder" else self.student.parameters()
        groups = parameter_groups(began, config.weight_decay)
        if self.student.eyes is not None:
            known = {p for group in groups for p in group["params"]}
            others = parameter_groups((p for p in self.student.parameters() if p not in known), config.weight_decay)
            groups += [{**group, "share": config.encoder_lr} for group in others]
        optim = OptimConfig(clip=config.clip)
        groups = [{**group, "betas": (0.9, 0.98)} for group in groups]
        self.engine = self.make_engine(self.student, self.student, groups, optim)

    def learn(self, batch: VsrBatch) -> dict[str, float]:
        """One optimiser step; a gradient that is not finite is skipped and counted."""
        config = self.config
        warm = min(1.0, (self.step + 1) / max(1, config.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / config.steps)))
        for group in self.engine.optimizer.param_groups:
            group["lr"] = config.lr * group.get("share", 1.0) * warm * (0.02 + 0.98 * cosine)
        place = distributed.rank() * config.data.clips  # of our clips among those of all processes
        torch.manual_seed((config.seed * 1_000_003 + self.step) * 4099 + place)  # dropout, the same after a resume
        noise = Noise.of(config.seed, self.step, range(place, place + len(batch.look)))
        loss, parts = self.engine.forward(batch.to(self.device), noise)
        told = advance(self.engine, loss, self.average, 1 - average_decay(config.average, self.step), self.step)
        self.step += 1
        values = {name: float(value) for name, value in parts.items()}
        return {"loss": float(loss.detach()), **values, **told}

    @property
    def state_path(self) -> Path:
        return self.out / "last.safetensors"

    def save(self) -> None:
        """See run_state.save_run."""
        save_run(self.state_path, self.engine, self.average, self.config, {"step": self.step, "best": self.best})

    def resume(self) -> None:
        """Go on from the folder's last checkpoint. Raises SyncLipError where it belongs to another config."""
        if not self.state_path.exists():
            return
        tensors, header = read_run(self.state_path, self.config)
        self.student.load_state_dict(part(tensors, "model"))
        self.average.load_state_dict(part(tensors, "average"))
        self.begin()
        self.engine.restore(tensors)
        self.step, self.best = int(header["step"]), float(header["best"])

    def reader(self, record: dict) -> Reader:
        """The averaged reader with what its file says of it."""
        metadata = {"reads": self.config.reads, "search": to_dict(self.config.search), "training": record}
        return Reader(self.average.reader, self.checkpoint.sha256, metadata)

    def write(self, reader: Reader) -> None:
        """The reader, and where the model behind it learned too, that model: a reader belongs to its checkpoint."""
        if self.config.unfreeze != "none":
            model = copy.deepcopy(self.checkpoint.model)
            model.vocal.load_state_dict(self.average.head.state_dict())
            if self.average.eyes is not None:
                model.visual.load_state_dict(self.average.eyes.visual.state_dict())
            if self.average.listener is not None:
                model.hearing.load_state_dict(self.average.listener.adapter.state_dict())
            path = self.out / "model.safetensors"
            save_checkpoint(path, model, {**self.checkpoint.metadata, "finetuned": reader.metadata["training"]})
            reader.model = load_checkpoint(path).sha256
        save_reader(self.out / "reader.safetensors", reader)


def judge(run: Run, utterances: list[Utterance], beam: int) -> tuple[ErrorRate, list[float]]:
    """Word errors of the averaged weights on plain views, and the confidence of each reading."""
    run.average.cpu()
    reader, options = run.reader({}), replace(run.config.search, beam=beam)
    errors, sure = ErrorRate(), []
    for utterance in utterances:
        found = read_lips(reader, run.average.plain_tokens(utterance), utterance.valid, options=options)
        errors.add(utterance.spoken.text, found.text)
        sure.append(found.confidence or 0.0)
    run.average.to(run.device)
    return errors, sure


def finetune(
    config: VsrTrainConfig,
    out: Path,
    weights: str | None,
    stop_at: int | None = None,
    device: str = "cpu",
    make_engine: MakeEngine = OneProcess,
) -> None:
    """Train to `config.steps` (or `stop_at`), judging on the validation split and keeping the best reader."""
    checkpoint = load_checkpoint(weights)
    if not config.data.texts:
        raise SyncLipError("data.texts: not set; name the file or folder that says what is spoken in the videos")
    corpus = {}
    for source in (config.data.texts, *config.data.also):
        corpus |= read_corpus(source, config.data.layout)
    out.mkdir(parents=True, exist_ok=True)
    data = config.data
    if config.unfreeze == "encoder":
        train, val = (load_crops(data.shards, split, corpus, data.cache_gb) for split in ("train", "val"))
    else:
        train, val = (
            load_utterances(
                checkpoint, data.shards, split, corpus, views, out / "features", heard=hears and data.heard > 0
            )
            for split, views, hears in (("train", data.views, True), ("val", 1, False))
        )
    if not train or not val:
        raise SyncLipError(
            f"{config.data.shards}: {len(train)} training and {len(val)} validation clips have a text in "
            f"{config.data.texts}; check data.layout and that the shards were made from these videos"
        )
    texts = [utterance.spoken.text for utterance in train]
    speller: Speller = Pieces(out / "pieces.model", texts, data.pieces) if data.pieces else Characters(texts)
    run = Run(config, checkpoint, speller.units, out, device, make_engine)
    run.resume()
    batches = Batches(train, speller, data, config.seed, checkpoint.model.vocal.center)
    end = min(config.steps, stop_at or config.steps)
    kind = "pieces" if data.pieces else "characters"
    print(f"{len(train)} training and {len(val)} validation clips, {len(speller.units)} {kind}", file=sys.stderr)
    quiet = True if distributed.rank() else None
    with tqdm(total=config.steps, initial=run.step, desc="finetune_vsr", unit="step", disable=quiet) as bar:
        with Journal(out) as journal:
            train_reader(run, batches, val, end, bar, journal)


def train_reader(run: Run, batches: Batches, val: list[Utterance], end: int, bar: tqdm, journal: Journal) -> None:
    """To step `end`."""
    config, began, first = run.config, time.monotonic(), run.step
    while run.step < end:
        values = run.learn(batches.batch(run.step * distributed.size() + distributed.rank()))
        bar.update()
        if run.step % 10 == 0:
            pace = (time.monotonic() - began) / (run.step - first)
            bar.set_postfix({k: f"{values[k]:.3f}" for k in ("ctc", "attention")})
            distributed.by_first(partial(journal.write, run.step, values | {"seconds_per_step": pace}))
        last = run.step == config.steps
        if run.step % config.validate_every == 0 or last:
            distributed.by_first(partial(keep_best, run, val, journal, last))
        if run.step % config.checkpoint_every == 0 or run.step == end:
            run.save()


def keep_best(run: Run, val: list[Utterance], journal: Journal, last: bool) -> None:
    """Judge on the validation split, and write the reader if it is the best so far or the last."""
    config = run.config
    errors, sure = judge(run, val, config.search.beam if last else 2)
    journal.write(run.step, {"val": errors.to_json()})
    tqdm.write(f"step {run.step}: {json.dumps(errors.to_json())}")
    if errors.wer < run.best or last:
        run.best = min(run.best, errors.wer)
        reader = run.reader({"steps": run.step, "seed": config.seed, "val": errors.to_json()})
        reader.metadata["min_confidence"] = round(float(np.quantile(sure, 0.02)), 4)
        run.write(reader)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.finetune_vsr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="YAML, for example train/configs/vsr_grid.yaml")
    parser.add_argument("--out", default="runs/vsr", type=Path, help="folder of features, checkpoints, log.jsonl")
    parser.add_argument("--checkpoint", help="SyncLipMAE weights whose tokens are read; the bundled ones if not given")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--deepspeed", metavar="JSON", help="train with DeepSpeed, as train.pretrain does")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher passes it
    options = parser.parse_args(arguments)
    try:
        config = read_config(VsrTrainConfig, options.config)
        device, make_engine = launched(options.device, options.deepspeed)
        finetune(config, options.out, options.checkpoint, None, device, make_engine)
    except SyncLipError as error:
        print(f"finetune_vsr: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("finetune_vsr: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    finally:
        distributed.leave()
    return 0
