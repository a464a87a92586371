"""One pretraining run: model, averaged weights and the engine that moves them, through stages, kills and resumes."""

import copy
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from synclip_core.checkpoint import is_checkpoint, load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.files.safetensors_file import read_safetensors
from synclip_core.models.pretrained import load_speech_encoder, speech_config
from synclip_core.models.pretrained_vit import load_vit
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.objectives.decorrelation import CrossCovariance
from train.data.noise import DeviceNoise, Draws, Noise
from train.data.sampling import Batch
from train.engine import distributed
from train.engine.one_process import MakeEngine, OneProcess
from train.engine.run_state import average_decay, parameter_groups, part, plain, save_run
from train.pretrain.config import LEARNED_BY, OptimConfig, PretrainConfig, StageConfig, checkpoint_path
from train.pretrain.objective import STAGES, Losses, Named, Step
from train.pretrain.shares import learn_together

MOST_SKIPPED = 20  # steps in a row without a finite gradient, until a run gives up


class Objective(nn.Module):
    """What the model computes of a share of a batch as one module, which is what DeepSpeed wants to see."""

    def __init__(self, model: SyncLipMAE, config: PretrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, batch: Batch, stage: StageConfig, noise: Draws) -> tuple[Named, Named]:
        """The first half of the objective."""
        augmentation, loss, together = self.config.augment, self.config.loss, self.config.data.clips_per_subject
        return STAGES[stage.learn].encode(Step(self.model, batch, stage, augmentation, loss, noise, together))


class Run:
    """`step` counts over all stages; `processes` is how many shared a batch when the run began."""

    def __init__(
        self, config: PretrainConfig, out: Path, device: str, make_engine: MakeEngine = OneProcess, begin: bool = True
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.out, self.device, self.make_engine = config, out, device, make_engine
        built = build(config).to(device)
        self.frozen = {name for name, p in built.named_parameters() if not p.requires_grad}
        self.average = built.requires_grad_(False)
        self.ends = list(itertools.accumulate(stage.steps for stage in config.stages))
        self.began = self.minutes = 0.0  # see end_after
        self.step, self.best, self.processes = 0, -math.inf, distributed.size()
        self.skip: set[int] = set()  # steps whose gradient was not finite
        self.memory = CrossCovariance(config.model.dim, 3, config.loss.decorrelation_memory).to(device)
        if begin:
            self.begin_stage(0)

    @property
    def stage(self) -> StageConfig:
        return self.config.stages[self.stage_index]

    @property
    def stage_start(self) -> int:
        return self.ends[self.stage_index] - self.stage.steps

    @property
    def clips(self) -> int:
        """Of a step, over all processes; a run that goes on with more or fewer processes keeps it."""
        return self.stage.clips * self.processes

    @property
    def shares(self) -> int:
        """Of this process: those of the run, dealt out; where they cannot be, one a process, of another size."""
        dealt, rest = divmod(self.processes, distributed.size())
        return 1 if rest or not dealt else dealt

    def slots(self) -> list[range]:
        """The places of this process in a step's batch: of each part (optim.accumulate) its shares.

        Raises SyncLipError where the batch does not divide.
        """
        parts, mine = self.config.optim.accumulate, self.shares
        shares = distributed.size() * mine
        length, rest = divmod(self.clips, parts * shares)
        if rest or not length or length % self.config.data.clips_per_subject:
            raise SyncLipError(
                f"{self.clips} clips of a step cannot be shared by {shares} processes in {parts} parts each of whole "
                f"subjects ({self.config.data.clips_per_subject} clips); change stages.clips or the number of processes"
            )
        places = [part * shares + distributed.rank() * mine + k for part in range(parts) for k in range(mine)]
        return [range(place * length, (place + 1) * length) for place in places]

    def begin_stage(self, index: int, weights: dict[str, Tensor] | None = None) -> None:
        """Go on from the averaged weights, or these, with what this stage learns and a fresh optimiser."""
        self.stage_index = index
        self.model = copy.deepcopy(self.average)
        if weights is not None:
            self.model.load_state_dict(weights)
        learned = LEARNED_BY[self.stage.learn]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in self.frozen and name.startswith(learned))
        self.model.visual.checkpointing = self.model.decoder.checkpointing = self.config.optim.checkpointing
        if self.config.optim.compile:
            self.model.visual.compile()
        groups = parameter_groups(self.model.parameters(), self.config.optim.weight_decay)
        optim = replace(self.config.optim, accumulate=self.config.optim.accumulate * self.shares)
        self.engine = self.make_engine(Objective(self.model, self.config), self.model, groups, optim)

    def end_after(self, minutes: float, began: float) -> None:
        """The last stage comes to its end `minutes` after `began` (time.monotonic), with whatever steps it made: for a
        machine that is lent."""
        self.began, self.minutes = began, minutes

    @property
    def progress(self) -> float:
        """Share of the time that is gone, 1 at its end; 0 where there is no limit or stages are to come."""
        if not self.minutes or self.stage_index < len(self.config.stages) - 1:
            return 0.0
        return min(1.0, (time.monotonic() - self.began) / (60 * self.minutes))

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.engine.optimizer

    # ---- on disk ------------------------------------------------------------------------------------------------

    @property
    def state_path(self) -> Path:
        return self.out / "last.safetensors"

    def save(self) -> None:
        """See run_state.save_run."""
        notes = {
            "step": self.step,
            "stage": self.stage_index,
            "best": self.best,
            "processes": self.processes,
            "skip": json.dumps(sorted(self.skip)),
        }
        save_run(self.state_path, self.engine, self.average, self.config, notes, self.memory)

    def resume(self) -> None:
        """Go on from the last checkpoint in the folder, if there is one. Raises SyncLipError when the model differs."""
        if not self.state_path.exists():
            return
        tensors, header = read_safetensors(self.state_path)
        if not {"config", "stage", "step"} <= header.keys():
            raise SyncLipError(f"{self.state_path}: is no state of a training run; choose another --out folder")
        stored, own = json.loads(header["config"]), plain(self.config)
        begun = int(header["stage"]) + 1  # stages to come may change
        if (stored["model"], stored["stages"][:begun]) != (own["model"], own["stages"][:begun]):
            raise SyncLipError(
                f"{self.state_path}: was written with another model or other stages; choose another --out folder"
            )
        self.average.load_state_dict(part(tensors, "average"))
        self.processes = int(header.get("processes", "1"))
        self.begin_stage(int(header["stage"]), part(tensors, "model"))
        self.engine.restore(tensors)
        self.memory.load_state_dict(part(tensors, "memory") or self.memory.state_dict())
        self.step, self.best = int(header["step"]), float(header.get("best", "-inf"))
        self.skip |= set(json.loads(header.get("skip", "[]")))

    def export(self, path: Path, record: dict) -> None:
        """The averaged weights as an inference checkpoint."""
        save_checkpoint(path, self.average, {"training": record})

    # ---- a step -------------------------------------------------------------------------------------------------

    def learn(self, batches: Sequence[Batch]) -> dict[str, float]:
        """One optimiser step on this process's share of the batch, in pieces as of `slots`; the whole batch's losses.

        A step whose gradient is not finite is skipped and says so in the log. Raises SyncLipError after too many.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step - self.stage_start, self.stage, config.optim, self.progress)
        if self.step in self.skip:
            self.step += 1
            return {"skipped": 1.0}
        losses: list[dict[str, Tensor]] = []
        for first in range(0, len(batches), self.shares):
            for total, terms in self._learn_part(batches[first : first + self.shares]):
                losses.append({"total": total.detach(), **{name: term.detach() for name, term in terms.items()}})
        norm = self.engine.step()
        values = {name: float(torch.stack([loss[name].float() for loss in losses]).mean()) for name in losses[0]}
        told = distributed.summed(torch.tensor(list(values.values()), device=self.device)) / distributed.size()
        values = dict(zip(values, told.tolist(), strict=True))
        if math.isfinite(norm):
            self.memory.commit()
            self.engine.follow(self.average, 1 - average_decay(config.optim.ema, self.step))
            self.step += 1
            return {**values, "grad_norm": norm, "skipped": 0.0}
        self.memory.forget()
        self._skip()
        return {**values, "grad_norm": math.inf, "skipped": 1.0}

    def _learn_part(self, batches: Sequence[Batch]) -> list[Losses]:
        """Forward and backward of our shares of a part; what a share is compared with are the shares of its part."""
        stage, loss = self.stage, self.config.loss
        encoded = [self.engine.forward(batch, stage, self._noise(batch)) for batch in batches]
        return learn_together(
            encoded,
            lambda tokens: STAGES[stage.learn].compare(tokens, loss, self.memory),
            self.engine.backward,
        )

    def _noise(self, batch: Batch) -> Draws:
        seed = self.config.seed
        if self.config.data.resident:
            return DeviceNoise.of(seed, self.step, len(batch.slots), batch.audio.device)
        return Noise.of(seed, self.step, batch.slots)

    def _skip(self) -> None:
        """Leave this step out; where the engine stepped already, go back to the last checkpoint first."""
        bad = self.step
        self.skip.add(bad)
        if all(step in self.skip for step in range(bad - MOST_SKIPPED + 1, bad + 1)):
            raise SyncLipError(f"no finite gradient in {MOST_SKIPPED} steps up to {bad}; lower the stage's lr")
        if not self.engine.skips:
            if not self.state_path.exists():
                raise SyncLipError(f"the gradient of step {bad} is not finite, before the first checkpoint; lower lr")
            self.resume()
        else:
            self.step += 1


def build(config: PretrainConfig) -> SyncLipMAE:
    """The model of a config, started from the weights that it names."""
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
        if is_checkpoint(config.init.visual):
            take_visual(model, load_checkpoint(config.init.visual).model)
        else:
            load_vit(model.visual, config.init.visual, config.init.visual_norm)
    if config.init.model:
        path = checkpoint_path(config.init.model)
        try:
            model.load_state_dict(load_checkpoint(path).model.state_dict())
        except RuntimeError as error:
            raise SyncLipError(f"{path}: the sizes of `model:` are not those of this checkpoint: {error}") from error
    return model


ON_PROMPTS = ("visual.", "identity_proj.", "ambient_proj.", "geometry_head.", "decoder.")


def take_visual(model: SyncLipMAE, other: SyncLipMAE) -> None:
    """The visual encoder of another model, which must fit, and what works on its prompts where it does.

    Raises SyncLipError where the encoders differ in size.
    """
    own, given = model.state_dict(), other.state_dict()
    fits = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
    lacking = [name for name in own if name.startswith("visual.") and name not in fits]
    if lacking:
        raise SyncLipError(
            f"init.visual: the checkpoint's encoder has other sizes ({lacking[0]}); set model.visual as its"
        )
    whole = [part for part in ON_PROMPTS if all(name in fits for name in own if name.startswith(part))]
    model.load_state_dict(own | {name: value for name, value in fits.items() if name.startswith(tuple(whole))})


def learning_rate(step: int, stage: StageConfig, optim: OptimConfig, passed: float = 0.0) -> float:
    """Linear warm-up, then a cosine to `final_lr`; `step` counts from the stage's start. passed: share of the time that
    the run has, where that ends sooner than the steps."""
    if step < stage.warmup:
        return stage.lr * (step + 1) / stage.warmup
    progress = min(1.0, max(passed, (step - stage.warmup) / max(1, stage.steps - stage.warmup)))
    return stage.lr * (optim.final_lr + (1 - optim.final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))
