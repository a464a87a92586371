"""The full pretraining objective on one batch (papers/synclipmae.txt, section 3.3), in two halves.

A batch may be cut into shares, over processes or one after the other (train/shares.py). `encode` is what a share
computes by itself; `compare` sets its tokens against those of all. The mean of the shares' losses is the batch's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from synclip_core.models.config import VisualConfig
from synclip_core.models.decoder import patchify
from synclip_core.models.masking import face_preserving_keep, uniform_keep
from synclip_core.models.mel import MelFrontEnd
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.models.visual_encoder import IDENTITY, VOCAL
from synclip_core.objectives.contrastive import contrastive_rows, positive_set
from synclip_core.objectives.decorrelation import decorrelation_loss
from synclip_core.objectives.reconstruction import reconstruction_loss
from train.config import AugmentConfig, LossConfig, StageConfig
from train.data import augment
from train.data.noise import Noise
from train.data.sampling import Batch

GEOMETRY_SCALE = 25.0  # canonical units -> order of one: lips open by about 0.04


Named = dict[str, Tensor]


class Losses(NamedTuple):
    """`total` is what is minimised; `parts` are the unweighted terms, for the log."""

    total: Tensor
    parts: Named


def pretraining_losses(
    model: SyncLipMAE,
    batch: Batch,
    stage: StageConfig,
    augmentation: AugmentConfig,
    loss: LossConfig,
    noise: Noise,
    together: int = 1,
) -> Losses:
    """Both halves on a batch that is not shared."""
    own, shared = encode(model, batch, stage, augmentation, loss, noise, together)
    return compare(own, shared, shared, 0, stage, loss)


# ---- what a share computes by itself ----------------------------------------------------------------------------


def encode(
    model: SyncLipMAE,
    batch: Batch,
    stage: StageConfig,
    augmentation: AugmentConfig,
    loss: LossConfig,
    noise: Noise,
    together: int = 1,
) -> tuple[Named, Named]:
    """One forward pass: two bypasses, two decodings; or what the stage learns of it.

    Returns what is the share's own, its terms above all, and what is shared: rows that all shares lay end to end,
    float32 whatever the autocast.
    """
    if stage.learn == "vision":
        return encode_vision(model, batch, augmentation, noise)
    if stage.learn == "alignment":
        return encode_alignment(model, batch, augmentation, loss, noise)
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
    audio, sound = audio_tokens(model, batch.audio.to(device), augmentation.mel, noise)
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
    spoken = audio[rows, chosen].flatten(0, 1)
    moved = vocal[rows, chosen].flatten(0, 1)
    other = ambient[rows, chosen].flatten(0, 1)
    given = shuffle_identity(identity.unflatten(0, (clips, -1)), together, loss.shuffle_identity, noise).flatten(0, 1)
    pixels = patchify(target, config.patch_size)
    conditions = {"video": moved, "audio": spoken}
    own = {
        f"{name}_mse": reconstruction_loss(model.decoder(patches, seen, given, other, conditions[name]), pixels, seen)
        for name in loss.passes
    }
    # 4. for alignment, decorrelation, geometry
    own["scale"], shared = contrasted(model, audio, vocal, sound, batch, loss)
    shared |= {"identity": identity.float(), "moved": moved.float(), "other": other.float(), "seen": valid}
    if model.config.geometry_points and loss.geometry:
        error = geometry_error(model.geometry_head(centered), view.geometry.to(device), valid)
        own["geometry"] = error.sum()
    return own, shared


def encode_vision(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Noise) -> tuple[Named, Named]:
    """What the vocal prompt of single frames tells of the lips' geometry, and `rest`, what no prompt at all would tell:
    the head is linear, so that the mean prompt of the batch can be taken out of its answers."""
    view = bypass_2(model, batch, augmentation, noise)
    prompts = view.prompts[..., VOCAL, :]
    own = {"rest": model.geometry_head(torch.zeros_like(prompts[0, :1]))} if model.vocal_head.center else {}
    return own, {
        "told": model.geometry_head(prompts).float(),
        "geometry": view.geometry.to(prompts.device),
        "seen": batch.valid.to(prompts.device),
    }


def encode_alignment(
    model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, loss: LossConfig, noise: Noise
) -> tuple[Named, Named]:
    """The tokens alone, on prompts that were computed before."""
    assert batch.prompts is not None
    device = model.logit_scale.device
    vocal = model.vocal_head(model.vocal_head.centered(batch.prompts.to(device), batch.valid.to(device)))
    audio, sound = audio_tokens(model, batch.audio.to(device), augmentation.mel, noise)
    scale, shared = contrasted(model, audio, vocal, sound, batch, loss)
    return {"scale": scale}, shared


def contrasted(
    model: SyncLipMAE, audio: Tensor, vocal: Tensor, sound: Tensor, batch: Batch, loss: LossConfig
) -> tuple[Tensor, Named]:
    """The inverse temperature, and the tokens of the contrast with the frames that count in it."""
    counts = (batch.valid & batch.trusted[:, None]).to(audio.device)
    tokens = {"audio": normalise(audio).float(), "vocal": normalise(vocal).float()}
    return model.logit_scale.exp().clamp(max=loss.max_scale), {**tokens, "sound": sound.float(), "counts": counts}


class View(NamedTuple):
    """images: [B, T, 3, H, W] before the jitter; geometry: [B, T, 60, 2]; keep: [B, T, V] patches that were seen;
    patches: [B, T, V, width] and prompts: [B, T, 3, width] of the jittered images."""

    images: Tensor
    geometry: Tensor
    keep: Tensor
    patches: Tensor
    prompts: Tensor


def bypass_2(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Noise) -> View:
    """The motion view of all frames; of a model with a single view, that one (VisualConfig.bypasses).

    Both bypasses see one canonical square. The jitter is for this one only; a single view must be restored, so it gets
    none.
    """
    config, device = model.config.visual, model.logit_scale.device
    images, geometry = augment.geometric(
        batch.crops.to(device), batch.geometry, batch.margin, config.image_size, augmentation.geometric, noise
    )
    jittered = augment.photometric(images, augmentation.photometric if config.bypasses == "both" else 0, noise)
    shape = batch.valid.shape
    keep = motion_keep(config, model.importance, shape[1], noise).to(device)
    patches, prompts = model.visual(jittered.flatten(0, 1), keep)
    return View(images, geometry, *(x.unflatten(0, shape) for x in (keep, patches, prompts)))


def motion_keep(config: VisualConfig, importance: Tensor, frames: int, noise: Noise) -> Tensor:
    """[B * frames, V]: the patches that the motion view of each frame sees, drawn on the CPU."""
    hidden = noise.uniform(frames, len(importance)).flatten(0, 1)
    if config.bypasses == "uniform":
        return uniform_keep(hidden, config.mask_ratio)
    return face_preserving_keep(hidden, importance.cpu(), config.face_mask_ratio)


def audio_tokens(model: SyncLipMAE, waveform: Tensor, strength: float, noise: Noise) -> tuple[Tensor, Tensor]:
    """Audio tokens [B, T, dim] and the features [B, T, F] whose self-similarity widens the positive set."""
    if isinstance(model.front_end, MelFrontEnd):
        log_mel = augment.mel(model.front_end.log_mel(waveform), strength, noise)
        layers = model.front_end.layers(model.front_end.normalise(log_mel))
    else:
        layers = model.front_end(waveform)
    sound = torch.cat(layers, -1) if len(layers) <= 4 else layers[-1]
    return model.adapter(layers), sound.detach()


def shuffle_identity(identity: Tensor, together: int, share: float, noise: Noise) -> Tensor:
    """Permute identity tokens among the frames of one subject: same person, other motion. identity: [B, R, dim].

    together: clips of one subject that stand side by side; share: of the subjects to whom it happens.
    """
    grouped = identity.unflatten(0, (-1, together)).flatten(1, 2)
    orders, coins = noise.order(grouped.shape[1])[::together], noise.uniform(1)[::together]
    order = torch.where(coins < share, orders, torch.arange(grouped.shape[1])).to(identity.device)
    return grouped.gather(1, order[..., None].expand_as(grouped)).view_as(identity)


# ---- what needs the tokens of all shares ------------------------------------------------------------------------


def compare(own: Named, shared: Named, everyone: Named, place: int, stage: StageConfig, loss: LossConfig) -> Losses:
    """The losses of a share. own, shared: see `encode`; everyone: `shared` of all shares; place: of ours among them."""
    if stage.learn == "vision":
        error = vision_loss(everyone, own.get("rest"))
        return Losses(error, {"geometry": error})
    contrast = alignment(own["scale"], shared, everyone, place, loss)
    if stage.learn == "alignment":
        return Losses(contrast, {"contrastive": contrast})
    parts = {f"{name}_mse": own[f"{name}_mse"] for name in loss.passes}
    total = loss.reconstruction * torch.stack(list(parts.values())).sum() + loss.contrastive * contrast
    parts |= {
        "contrastive": contrast,
        "decorrelation": decorrelation_loss(everyone["identity"], everyone["moved"], everyone["other"]),
    }
    total = total + loss.decorrelation * parts["decorrelation"]
    if "geometry" in own:
        shares = len(everyone["seen"]) // len(shared["seen"])
        parts["geometry"] = own["geometry"] / (everyone["seen"].sum() / shares).clamp_min(1)
        total = total + loss.geometry * parts["geometry"]
    return Losses(total, parts)


def alignment(scale: Tensor, shared: Named, everyone: Named, place: int, loss: LossConfig) -> Tensor:
    """InfoNCE over all frames of the batch, and with weight `same_clip` among the frames of each clip alone.

    A share asks with the tokens of its clips, audio and video, and is answered by those of all shares.
    """
    if not loss.gather:
        everyone, place = shared, 0
    a, v, valid = shared["audio"], shared["vocal"], shared["counts"]
    clips, frames = everyone["counts"].shape
    index = everyone["counts"].flatten().nonzero().flatten()
    shares = clips // len(valid)
    if len(index) < 2:
        return (a.sum() + v.sum()) * 0
    # the place of each of our tokens among all that count
    mine = valid.flatten().nonzero().flatten()
    rows = (everyone["counts"].flatten().cumsum(0) - 1)[mine + place * valid.numel()]
    clip = torch.arange(clips, device=valid.device).repeat_interleave(frames)[index]
    frame = torch.arange(frames, device=valid.device).repeat(clips)[index]
    heard, seen = everyone["audio"].flatten(0, 1)[index], everyone["vocal"].flatten(0, 1)[index]
    by_audio, by_video = scale * a.flatten(0, 1)[mine] @ seen.T, scale * v.flatten(0, 1)[mine] @ heard.T
    same = everyone["sound"].flatten(0, 1)[index]
    positive = positive_set(clip, frame, same, loss.neighbours, loss.self_similarity, rows)
    ignore = positive_set(clip, frame, same, loss.ignore_neighbours, 2.0, rows)

    def both_ways(positive: Tensor, ignore: Tensor) -> Tensor:
        asked = contrastive_rows(by_audio, positive, ignore) + contrastive_rows(by_video, positive, ignore)
        return asked.sum() * shares / (2 * len(index))

    if not loss.same_clip:
        return both_ways(positive, ignore)
    own = clip[rows, None] == clip
    return (1 - loss.same_clip) * both_ways(positive, ignore) + loss.same_clip * both_ways(
        positive & own, ignore | ~own
    )


def vision_loss(everyone: Named, rest: Tensor | None) -> Tensor:
    """The lips' geometry from single frames; the mean that is taken out is that of the batch. rest: see encode."""
    told, geometry, seen = (everyone[name].flatten(0, 1)[None] for name in ("told", "geometry", "seen"))
    if rest is not None:
        weight = seen[..., None].to(told)
        told = told - (told * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1) + rest
    return geometry_error(told, geometry, seen).sum() / seen.sum().clamp_min(1)


def geometry_error(told: Tensor, geometry: Tensor, valid: Tensor) -> Tensor:
    """How far the vocal prompt is from telling the lips' shape, each clip's mean shape taken out (identity removed).

    told: [B, T, 2 P], the head's answer; geometry: [B, T, P, 2]; valid: [B, T]. Smooth L1 of each frame, [B, T], in
    units of 1 / GEOMETRY_SCALE.
    """
    weight = valid[..., None].to(geometry)
    flat = geometry.flatten(2) * GEOMETRY_SCALE
    mean = (flat * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    error = torch.nn.functional.smooth_l1_loss(told, flat - mean, reduction="none")
    return (error * weight).mean(-1)
