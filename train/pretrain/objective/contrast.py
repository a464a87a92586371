"""Which tokens of a batch the audio-vocal contrast compares, and its loss (SyncLipMAE, section 3.3)."""

import torch
from torch import Tensor

from synclip_core.models.synclipmae import SyncLipMAE, normalise
from synclip_core.objectives.contrastive import contrastive_rows, positive_set
from train.data.noise import Draws
from train.data.sampling import Batch
from train.pretrain.config import LossConfig

from .parts import Named


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
