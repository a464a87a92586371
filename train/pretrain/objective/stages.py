"""What each stage of training learns (StageConfig.learn): one class a stage, its two halves as methods."""

from typing import Protocol

import torch
from torch import Tensor

from synclip_core.models.decoder import patchify
from synclip_core.models.masking import REGION_WEIGHTS, uniform_keep
from synclip_core.models.visual_encoder import IDENTITY, VOCAL
from synclip_core.objectives.decorrelation import CrossCovariance, decorrelation_loss
from synclip_core.objectives.identity import identity_contrast
from synclip_core.objectives.reconstruction import reconstruction_loss
from synclip_core.objectives.steadiness import between_share, within_share
from train.pretrain.config import LossConfig

from .contrast import alignment, contrasted, in_context
from .geometry import geometry_error, vision_loss
from .hearing import listen
from .parts import Losses, Named, Step, Tokens
from .views import bypass_2, shuffle_identity


class Stage(Protocol):
    """One value of StageConfig.learn."""

    def encode(self, step: Step) -> tuple[Named, Named]:
        """One forward pass. Returns what is the share's own, its terms above all, and what is shared: rows that all
        shares lay end to end, float32 whatever the autocast."""

    def compare(self, tokens: Tokens, loss: LossConfig, memory: CrossCovariance | None) -> Losses:
        """The losses of a share. memory: what earlier steps saw of the factors; None: this step alone, at full
        weight."""


class Whole:
    """The paper's objective: two bypasses, two decodings, contrast, decorrelation; and what the config adds to it."""

    def encode(self, step: Step) -> tuple[Named, Named]:
        model, batch, stage, augmentation, loss, noise, together = step
        config = model.config.visual
        device = model.logit_scale.device
        clips, frames = batch.valid.shape
        # 1. bypass 2 on all frames: vocal and ambient prompts
        view = bypass_2(model, batch, augmentation, noise)
        valid = batch.valid.to(device)
        centered = model.vocal_head.centered(view.prompts[..., VOCAL, :], valid)
        vocal = model.vocal_head(centered)
        ambient = model.ambient_tokens(view.prompts)
        # 2. audio tokens
        layers, sound = listen(model, batch, augmentation, noise)
        audio = model.heard(layers, context=False)
        # 3. bypass 1 and both decodings on a few frames of each clip
        chosen = noise.order(frames)[:, : stage.reconstruct].to(device)
        rows = torch.arange(clips, device=device)[:, None]
        target = view.images[rows, chosen].flatten(0, 1)
        if config.bypasses == "both":
            hidden = noise.uniform(chosen.shape[1], model.visual.patches).flatten(0, 1)
            seen = uniform_keep(hidden, config.mask_ratio).to(device)
            patches, first = model.visual(target, seen)
        else:
            seen, patches, first = (x[rows, chosen].flatten(0, 1) for x in (view.keep, view.patches, view.prompts))
        identity = model.identity_proj(first[:, IDENTITY])
        audio_of, vocal_of, ambient_of = (x[rows, chosen].flatten(0, 1) for x in (audio, vocal, ambient))
        by_clip = identity.unflatten(0, (clips, -1))
        given = shuffle_identity(by_clip, together, loss.shuffle_identity, noise).flatten(0, 1)
        pixels = patchify(target, config.patch_size)
        weight = 1 + loss.face_weight * view.odds[rows, chosen].flatten(0, 1) / max(REGION_WEIGHTS)
        conditions = {"video": vocal_of, "audio": audio_of}
        own = {}
        for name in loss.passes:
            restored = model.decoder(patches, seen, given, ambient_of, conditions[name])
            own[f"{name}_mse"] = reconstruction_loss(restored, pixels, seen, weight)
        # 4. for alignment, decorrelation, identity, geometry
        own["scale"], shared = contrasted(model, audio, vocal, sound, batch, loss)
        factors = {"identity": identity, "vocal_of": vocal_of, "ambient": ambient_of}
        shared |= {name: tokens.float() for name, tokens in factors.items()} | {"face": valid}
        if loss.identity_contrast:
            shared["person"] = batch.person.to(device)[:, None].expand(-1, chosen.shape[1]).flatten()
        if loss.steadiness:
            steady = within_share(by_clip, valid[rows, chosen])
            own["steadiness"] = steady + between_share(vocal, valid)
        if model.has_context:
            own["context_scale"], more = in_context(model, view.prompts[..., VOCAL, :], layers, batch, loss, noise)
            shared |= more
            if loss.steadiness:
                own["steadiness"] = own["steadiness"] + between_share(more["vocal_context"], valid)
        if model.config.geometry_points and loss.geometry:
            error = geometry_error(model.geometry_head(centered), view.geometry.to(device), valid)
            own["geometry"] = error.sum()
        return own, shared

    def compare(self, tokens: Tokens, loss: LossConfig, memory: CrossCovariance | None) -> Losses:
        own, shared, everyone, _ = tokens
        total, parts = contrast_terms(tokens, loss)
        factors = (everyone["identity"], everyone["vocal_of"], everyone["ambient"])
        parts |= {f"{name}_mse": own[f"{name}_mse"] for name in loss.passes}
        parts["decorrelation"] = (memory or decorrelation_loss)(*factors)
        total = total + loss.reconstruction * torch.stack([parts[f"{name}_mse"] for name in loss.passes]).sum()
        risen = 1.0 if memory is None else (memory.steps / max(1, loss.decorrelation_warmup)).clamp(max=1)
        total = total + loss.decorrelation * risen * parts["decorrelation"]
        if "person" in everyone:
            parts["identity"] = identity_contrast(everyone["identity"], everyone["person"])
            total = total + loss.identity_contrast * parts["identity"]
        if "steadiness" in own:
            parts["steadiness"] = own["steadiness"]
            total = total + loss.steadiness * parts["steadiness"]
        if "geometry" in own:
            shares = len(everyone["face"]) // len(shared["face"])
            parts["geometry"] = own["geometry"] / (everyone["face"].sum() / shares).clamp_min(1)
            total = total + loss.geometry * parts["geometry"]
        return Losses(total, parts)


class Vision:
    """What the vocal prompt of single frames tells of the lips' geometry."""

    def encode(self, step: Step) -> tuple[Named, Named]:
        model, batch, _, augmentation, _, noise, _ = step
        # `rest` is what no prompt at all would tell: the head is linear, so that the mean prompt of the batch can be
        # taken out of its answers
        view = bypass_2(model, batch, augmentation, noise)
        prompts = view.prompts[..., VOCAL, :]
        own = {"rest": model.geometry_head(torch.zeros_like(prompts[0, :1]))} if model.vocal_head.center else {}
        return own, {
            "told": model.geometry_head(prompts).float(),
            "geometry": view.geometry.to(prompts.device),
            "face": batch.valid.to(prompts.device),
        }

    def compare(self, tokens: Tokens, loss: LossConfig, memory: CrossCovariance | None) -> Losses:
        error = vision_loss(tokens.everyone, tokens.own.get("rest"))
        return Losses(error, {"geometry": error})


class Alignment:
    """The tokens alone, on prompts that were computed before."""

    def encode(self, step: Step) -> tuple[Named, Named]:
        model, batch, _, augmentation, loss, noise, _ = step
        assert batch.prompts is not None
        device = model.logit_scale.device
        prompts = batch.prompts.to(device)
        vocal = model.vocal_head(model.vocal_head.centered(prompts, batch.valid.to(device)))
        layers, sound = listen(model, batch, augmentation, noise)
        own = {}
        own["scale"], shared = contrasted(model, model.heard(layers, context=False), vocal, sound, batch, loss)
        if model.has_context:
            own["context_scale"], more = in_context(model, prompts, layers, batch, loss, noise)
            shared |= more
        return own, shared

    def compare(self, tokens: Tokens, loss: LossConfig, memory: CrossCovariance | None) -> Losses:
        return Losses(*contrast_terms(tokens, loss))


def contrast_terms(tokens: Tokens, loss: LossConfig) -> tuple[Tensor, Named]:
    """Weighted total and terms of the contrast: of single frames, and of the temporal branch where there is one."""
    own, shared, everyone, place = tokens
    contrast = alignment(own["scale"], "audio", "vocal", "counts", shared, everyone, place, loss)
    parts = {"contrastive": contrast}
    total = loss.contrastive * contrast
    if "context_scale" in own:
        names = ("audio_context", "vocal_context", "counts_context")
        parts["context"] = alignment(own["context_scale"], *names, shared, everyone, place, loss)
        total = total + loss.contrastive * parts["context"]
    return total, parts


STAGES: dict[str, Stage] = {"all": Whole(), "vision": Vision(), "alignment": Alignment()}
