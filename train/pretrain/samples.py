"""Pictures of what the decoder makes of clips: restored from their own tokens, or with a token of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from synclip_core.models.decoder import patchify, unpatchify
from synclip_core.models.masking import uniform_keep
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import IDENTITY, VOCAL
from train.data import augment
from train.data.clip import Clip
from train.data.noise import Noise
from train.data.sampling import ClipStore
from train.engine.pictures import sheet

COLUMNS = ("seen", "video-driven", "audio-driven", "target")
SWAPS = ("face A", "own tokens", "vocal of B", "ambient of B", "identity of B", "face B")


@dataclass
class Middle:
    """A clip in the middle: target [1, 3, H, W]; keep [1, V] and patches [1, V, width] of bypass 1; tokens [1, dim]."""

    target: Tensor
    keep: Tensor
    patches: Tensor
    identity: Tensor
    vocal: Tensor
    ambient: Tensor
    audio: Tensor


@torch.inference_mode()
def draw_samples(model: SyncLipMAE, store: ClipStore, clips: int = 4) -> Image.Image:
    """A row a clip: its middle frame, of which the decoder gets the patches of bypass 1 and the three tokens."""
    rows = []
    for one in _middles(model, store, clips):
        made = [_restored(model, one, one.identity, one.ambient, condition) for condition in (one.vocal, one.audio)]
        rows.append([_hidden(model, one), *made, one.target])
    return _sheet(COLUMNS, rows)


@torch.inference_mode()
def draw_swaps(model: SyncLipMAE, store: ClipStore, clips: int = 4) -> Image.Image:
    """A row a pair of clips: face A restored with one token of B at a time. What a token holds is what changes."""
    ones = _middles(model, store, clips)
    rows = []
    for a, b in zip(ones, ones[1:] + ones[:1], strict=True):
        tokens = (
            (a.identity, a.ambient, a.vocal),
            (a.identity, a.ambient, b.vocal),
            (a.identity, b.ambient, a.vocal),
            (b.identity, a.ambient, a.vocal),
        )
        rows.append([a.target, *(_restored(model, a, *given) for given in tokens), b.target])
    return _sheet(SWAPS, rows)


def _middles(model: SyncLipMAE, store: ClipStore, clips: int) -> list[Middle]:
    keys = sorted(store.meta)
    chosen = [keys[k] for k in np.linspace(0, len(keys) - 1, min(clips, len(keys))).astype(int)]
    return [_middle(model, store[key], Noise([number])) for number, key in enumerate(chosen)]


def _middle(model: SyncLipMAE, clip: Clip, noise: Noise) -> Middle:
    device, config = model.logit_scale.device, model.config.visual
    crops, points = torch.from_numpy(clip.crops)[None].to(device), torch.from_numpy(clip.geometry)[None]
    boxes = torch.from_numpy(clip.regions())[None].to(device)
    images = augment.geometric(crops, points.to(device), boxes, clip.margin, config.image_size, 0.0, noise)[0][0]
    middle = len(images) // 2
    around = slice(max(0, middle - 25), middle + 25)  # what the temporal layers of older checkpoints see
    parts = zip(images[around].split(16), boxes[0, around].split(16), strict=True)
    prompts = torch.cat([model.prompts(*part) for part in parts])[None]
    at = middle - around.start
    valid = torch.from_numpy(clip.valid[around])[None].to(device)
    target = images[middle : middle + 1]
    keep = uniform_keep(noise.uniform(model.visual.patches), config.mask_ratio).to(device)
    patches, first = model.visual(target, keep)
    return Middle(
        target,
        keep,
        patches,
        model.identity_proj(first[:, IDENTITY]),
        model.vocal_tokens(prompts[..., VOCAL, :], valid, context=False)[:, at],
        model.ambient_tokens(prompts)[:, at],
        model.audio_tokens(torch.from_numpy(clip.audio)[None].to(device), context=False)[:, middle],
    )


def _shown(model: SyncLipMAE, one: Middle) -> Tensor:
    """[1, P, 1]: 1 where bypass 1 sees the patch."""
    blank = torch.zeros(1, model.visual.patches, 1, device=one.target.device)
    return blank.scatter(1, one.keep[..., None], 1.0)


def _hidden(model: SyncLipMAE, one: Middle) -> Tensor:
    size, shown = model.config.visual.patch_size, _shown(model, one)
    return unpatchify(patchify(one.target, size) * shown + 0.5 * (1 - shown), size, model.visual.grid)


def _restored(model: SyncLipMAE, one: Middle, identity: Tensor, ambient: Tensor, condition: Tensor) -> Tensor:
    """The visible patches, and what the decoder puts between them."""
    size, shown = model.config.visual.patch_size, _shown(model, one)
    made = model.decode(one.patches, one.keep, identity, ambient, condition)
    return unpatchify(patchify(one.target, size) * shown + made * (1 - shown), size, model.visual.grid)


def _sheet(columns: Sequence[str], rows: list[list[Tensor]]) -> Image.Image:
    """rows: of frames [1, 3, H, W]."""
    return sheet(columns, [[frame[0].float().clamp(0, 1).movedim(0, -1) for frame in row] for row in rows])
