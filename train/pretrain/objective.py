"""The full pretraining objective on one batch (SyncLipMAE, section 3.3), in two halves.

A batch may be cut into shares, over processes or one after the other (shares.py). `encode` is what a share
computes by itself; `compare` sets its tokens against those of all. The mean of the shares' losses is the batch's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from synclip_core.models.audio.mel import MelFrontEnd
from synclip_core.models.config import VisualConfig
from synclip_core.models.decoder import patchify
from synclip_core.models.layers import full_precision
from synclip_core.models.masking import REGION_WEIGHTS, face_preserving_keep, uniform_keep
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.models.visual_encoder import IDENTITY, VOCAL
from synclip_core.objectives.contrastive import contrastive_rows, positive_set
from synclip_core.objectives.decorrelation import CrossCovariance, decorrelation_loss
from synclip_core.objectives.identity import identity_contrast
from synclip_core.objectives.reconstruction import reconstruction_loss
from synclip_core.objectives.steadiness import between_share, within_share
from train.data import augment
from train.data.noise import Draws
from train.data.pictures import degrade_frames
from train.data.sampling import Batch
from train.data.sound import degrade_sound
from train.pretrain.config import AugmentConfig, LossConfig, StageConfig

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
    noise: Draws,
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
    noise: Draws,
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
    given = shuffle_identity(identity.unflatten(0, (clips, -1)), together, loss.shuffle_identity, noise).flatten(0, 1)
    pixels = patchify(target, config.patch_size)
    weight = 1 + loss.face_weight * view.odds[rows, chosen].flatten(0, 1) / max(REGION_WEIGHTS)
    conditions = {"video": vocal_of, "audio": audio_of}
    own = {}
    for name in loss.passes:
        restored = model.decoder(patches, seen, given, ambient_of, conditions[name])
        own[f"{name}_mse"] = reconstruction_loss(restored, pixels, seen, weight)
    # 4. for alignment, decorrelation, identity, geometry
    own["scale"], shared = contrasted(model, audio, vocal, sound, batch, loss)
    shared |= {"identity": identity.float(), "vocal_of": vocal_of.float(), "ambient": ambient_of.float(), "face": valid}
    if loss.identity_contrast:
        shared["person"] = batch.person.to(device)[:, None].expand(-1, chosen.shape[1]).flatten()
    if loss.steadiness:
        steady = within_share(identity.unflatten(0, (clips, -1)), valid[rows, chosen])
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


def encode_vision(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Draws) -> tuple[Named, Named]:
    """What the vocal prompt of single frames tells of the lips' geometry, and `rest`, what no prompt at all would tell:
    the head is linear, so that the mean prompt of the batch can be taken out of its answers."""
    view = bypass_2(model, batch, augmentation, noise)
    prompts = view.prompts[..., VOCAL, :]
    own = {"rest": model.geometry_head(torch.zeros_like(prompts[0, :1]))} if model.vocal_head.center else {}
    return own, {
        "told": model.geometry_head(prompts).float(),
        "geometry": view.geometry.to(prompts.device),
        "face": batch.valid.to(prompts.device),
    }


def encode_alignment(
    model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, loss: LossConfig, noise: Draws
) -> tuple[Named, Named]:
    """The tokens alone, on prompts that were computed before."""
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


def contrasted(
    model: SyncLipMAE, audio: Tensor, vocal: Tensor, sound: Tensor, batch: Batch, loss: LossConfig
) -> tuple[Tensor, Named]:
    """The inverse temperature, and the tokens of the contrast with the frames that count in it."""
    device = audio.device
    counts = (batch.valid & batch.trusted[:, None]).to(device)
    reach = max(model.config.reach(context=False))
    if reach:  # a model whose only tokens look along the clip: what an end does to them must not be learned
        counts = counts & inside(counts.shape[1], reach, device)
    tokens = {"audio": normalise(audio).float(), "vocal": normalise(vocal).float(), "sound": sound.float()}
    places = {"clip": batch.clip.to(device)[:, None].expand_as(counts), "frame": batch.frame.to(device)}
    return model.logit_scale.exp().clamp(max=loss.max_scale), {**tokens, **places, "counts": counts}


def in_context(
    model: SyncLipMAE, prompts: Tensor, layers: list[Tensor], batch: Batch, loss: LossConfig, noise: Draws
) -> tuple[Tensor, Named]:
    """As `contrasted`, of the temporal branch.

    A token near an end sees less. If both streams ended at the same place in training, "we both end here" would be
    learned as a sign of sync. So the ends of the cut do not count, and each stream is hidden for a stretch of its own:
    what a token can know of missing context says nothing of where the other stream lacks it.
    """
    device = prompts.device
    valid = batch.valid.to(device)
    frames = valid.shape[1]
    video, sound = (~hidden_stretch(noise, frames).to(device) for _ in range(2))
    seen = valid & video
    vocal = model.vocal_context(prompts, seen)
    audio = model.audio_context(model.adapter.joined(layers), sound)
    counts = seen & sound & batch.trusted.to(device)[:, None] & inside(frames, model.config.context.reach, device)
    scale = model.context_scale.exp().clamp(max=loss.max_scale)
    return scale, {
        "audio_context": normalise(audio).float(),
        "vocal_context": normalise(vocal).float(),
        "counts_context": counts,
    }


def inside(frames: int, reach: int, device: torch.device) -> Tensor:
    """[1, frames] bool: ticks whose context lies inside the cut."""
    tick = torch.arange(frames, device=device)[None]
    return (tick >= reach) & (tick < frames - reach)


def hidden_stretch(noise: Draws, frames: int) -> Tensor:
    """[B, frames] bool: in two clips of three a stretch of a tenth to a half of the frames, anywhere."""
    has, length, place = (x[:, None] for x in noise.uniform(3).unbind(1))
    length = frames * (0.1 + 0.4 * length)
    start = (frames + length) * place - length
    tick = torch.arange(frames, device=start.device)[None]
    return (has < 2 / 3) & (tick >= start) & (tick < start + length)


class View(NamedTuple):
    """images: [B, T, 3, H, W] before the jitter; geometry: [B, T, 60, 2]; odds: [B, T, P] of each patch to be kept;
    keep: [B, T, V] patches that were seen; patches: [B, T, V, width] and prompts: [B, T, 3, width] of the jittered
    images."""

    images: Tensor
    geometry: Tensor
    odds: Tensor
    keep: Tensor
    patches: Tensor
    prompts: Tensor


def bypass_2(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Draws) -> View:
    """The motion view of all frames; of a model with a single view, that one (VisualConfig.bypasses).

    Both bypasses see one canonical square. The jitter is for this one only; a single view must be restored, so it gets
    none.
    """
    config, device = model.config.visual, model.logit_scale.device
    with full_precision(device):  # positions and pixels
        images, geometry, regions = augment.geometric(
            batch.crops.to(device),
            batch.geometry.to(device),
            batch.regions.to(device),
            batch.margin,
            config.image_size,
            augmentation.geometric,
            noise,
        )
        jittered = images
        if config.bypasses == "both":
            jittered = augment.photometric(images, augmentation.photometric, noise)
            jittered = degrade_frames(jittered, augmentation.degrade, noise)
        shape = batch.valid.shape
        odds = model.odds(regions.flatten(0, 1)).expand(shape.numel(), -1)
    keep = motion_keep(config, odds, shape[1], noise)
    patches, prompts = model.visual(jittered.flatten(0, 1), keep)
    return View(images, geometry, *(x.unflatten(0, shape) for x in (odds, keep, patches, prompts)))


def motion_keep(config: VisualConfig, odds: Tensor, frames: int, noise: Draws) -> Tensor:
    """[B * frames, V]: the patches that the motion view of each frame sees. odds: [B * frames or 1, P]."""
    hidden = noise.uniform(frames, odds.shape[1]).flatten(0, 1).to(odds)
    if config.bypasses == "uniform":
        return uniform_keep(hidden, config.mask_ratio)
    return face_preserving_keep(hidden, odds, config.face_mask_ratio)


def listen(model: SyncLipMAE, batch: Batch, augmentation: AugmentConfig, noise: Draws) -> tuple[list[Tensor], Tensor]:
    """Layers of the front end, [B, T, width] each, and the features [B, T, F] whose self-similarity widens the positive
    set."""
    device = model.logit_scale.device
    if batch.heard is not None:
        layers = list(batch.heard.to(device).float().chunk(model.config.audio.depth, -1))
        return layers, layers[-1]
    waveform = batch.audio.to(device)
    with full_precision(waveform.device):
        waveform = degrade_sound(waveform, augmentation.sound, noise)
    if isinstance(model.front_end, MelFrontEnd):
        log_mel = augment.mel(model.front_end.log_mel(waveform), augmentation.mel, noise)
        layers = model.front_end.layers(model.front_end.normalise(log_mel))
    else:
        layers = model.front_end(waveform)
    sound = torch.cat(layers, -1) if len(layers) <= 4 else layers[-1]
    return layers, sound.detach()


def shuffle_identity(identity: Tensor, together: int, share: float, noise: Draws) -> Tensor:
    """Permute identity tokens among the frames of one subject: same person, other motion. identity: [B, R, dim].

    together: clips of one subject that stand side by side; share: of the subjects to whom it happens.
    """
    grouped = identity.unflatten(0, (-1, together)).flatten(1, 2)
    orders, coins = noise.order(grouped.shape[1])[::together], noise.uniform(1)[::together]
    order = torch.where(coins < share, orders, torch.arange(grouped.shape[1], device=orders.device)).to(identity.device)
    return grouped.gather(1, order[..., None].expand_as(grouped)).view_as(identity)


# ---- what needs the tokens of all shares ------------------------------------------------------------------------


def compare(
    own: Named,
    shared: Named,
    everyone: Named,
    place: int,
    stage: StageConfig,
    loss: LossConfig,
    memory: CrossCovariance | None = None,
) -> Losses:
    """The losses of a share. own, shared: see `encode`; everyone: `shared` of all shares; place: of ours among them;
    memory: what earlier steps saw of the factors, None: this step alone, at full weight."""
    if stage.learn == "vision":
        error = vision_loss(everyone, own.get("rest"))
        return Losses(error, {"geometry": error})
    contrast = alignment(own["scale"], "audio", "vocal", "counts", shared, everyone, place, loss)
    parts = {"contrastive": contrast}
    total = loss.contrastive * contrast
    if "context_scale" in own:
        names = ("audio_context", "vocal_context", "counts_context")
        parts["context"] = alignment(own["context_scale"], *names, shared, everyone, place, loss)
        total = total + loss.contrastive * parts["context"]
    if stage.learn == "alignment":
        return Losses(total, parts)
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


def alignment(
    scale: Tensor, audio: str, vocal: str, counted: str, shared: Named, everyone: Named, place: int, loss: LossConfig
) -> Tensor:
    """InfoNCE over all frames of the batch, and with weight `same_clip` among the frames of each clip alone.

    audio, vocal, counted: names in `shared` of the tokens and of the frames that count. A share asks for its own frames
    and is answered by those of all shares.
    """
    if not loss.gather:
        everyone, place = shared, 0
    a, v, valid = shared[audio], shared[vocal], shared[counted]
    clips = len(everyone[counted])
    index = everyone[counted].flatten().nonzero().flatten()
    shares = clips // len(valid)
    if len(index) < 2:
        return (a.sum() + v.sum()) * 0
    # the place of each of our tokens among all that count
    mine = valid.flatten().nonzero().flatten()
    rows = (everyone[counted].flatten().cumsum(0) - 1)[mine + place * valid.numel()]
    clip, frame, heard, seen, same = (
        everyone[name].flatten(0, 1)[index] for name in ("clip", "frame", audio, vocal, "sound")
    )
    by_audio, by_video = scale * a.flatten(0, 1)[mine] @ seen.T, scale * v.flatten(0, 1)[mine] @ heard.T
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
    told, geometry, face = (everyone[name].flatten(0, 1)[None] for name in ("told", "geometry", "face"))
    if rest is not None:
        weight = face[..., None].to(told)
        told = told - (told * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1) + rest
    return geometry_error(told, geometry, face).sum() / face.sum().clamp_min(1)


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
