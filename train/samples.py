"""Pictures of what the decoder makes of validation clips: masked input, video-driven, audio-driven, target."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from synclip_core.models.decoder import patchify, unpatchify
from synclip_core.models.masking import uniform_keep
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import IDENTITY
from train.data import augment
from train.data.noise import Noise
from train.data.sampling import ClipStore

COLUMNS = ("seen", "video-driven", "audio-driven", "target")
SHOWN, HEAD = 160, 24  # pixels of a picture, of the line above


@torch.inference_mode()
def draw_samples(model: SyncLipMAE, store: ClipStore, clips: int = 4) -> Image.Image:
    """A row a clip: its middle frame, of which the decoder gets the patches of bypass 1 and the three tokens."""
    keys = sorted(store.meta)
    chosen = [keys[k] for k in np.linspace(0, len(keys) - 1, min(clips, len(keys))).astype(int)]
    rows = [_row(model, store, key, Noise([number])) for number, key in enumerate(chosen)]
    image = Image.new("RGB", (len(COLUMNS) * SHOWN, HEAD + len(rows) * SHOWN), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for k, name in enumerate(COLUMNS):
        draw.text((k * SHOWN + 6, 4), name, fill=(28, 33, 40), font=ImageFont.load_default(14))
    for i, row in enumerate(rows):
        for k, picture in enumerate(row):
            image.paste(picture.resize((SHOWN, SHOWN)), (k * SHOWN, HEAD + i * SHOWN))
    return image


def _row(model: SyncLipMAE, store: ClipStore, key: str, noise: Noise) -> list[Image.Image]:
    clip, device = store[key], model.logit_scale.device
    config, size = model.config.visual, model.config.visual.patch_size
    crops, points = torch.from_numpy(clip.crops)[None].to(device), torch.from_numpy(clip.geometry)[None]
    images = augment.geometric(crops, points, clip.margin, config.image_size, 0.0, noise)[0][0]
    middle = len(images) // 2
    around = slice(max(0, middle - 25), middle + 25)  # what the temporal layers see
    prompts = torch.cat([model.prompts(part) for part in images[around].split(16)])[None]
    at = middle - around.start
    valid = torch.from_numpy(clip.valid[around])[None].to(device)
    audio = model.audio_tokens(torch.from_numpy(clip.audio)[None].to(device))[:, middle]
    vocal, ambient = model.vocal_tokens(prompts, valid)[:, at], model.ambient_tokens(prompts)[:, at]
    target = images[middle : middle + 1]
    keep = uniform_keep(noise.uniform(model.visual.patches)[:1], config.mask_ratio).to(device)
    patches, first = model.visual(target, keep)
    identity = model.identity_proj(first[:, IDENTITY])
    shown = torch.zeros(1, model.visual.patches, 1, device=device).scatter(1, keep[..., None], 1.0)
    whole = patchify(target, size)
    made = [model.decode(patches, keep, identity, ambient, condition) for condition in (vocal, audio)]
    pictures = [whole * shown + 0.5 * (1 - shown), *(whole * shown + pixels * (1 - shown) for pixels in made), whole]
    return [_picture(unpatchify(pixels, size, model.visual.grid)[0]) for pixels in pictures]


def _picture(frame: torch.Tensor) -> Image.Image:
    """[3, H, W], 0..1."""
    pixels = frame.float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.cpu().numpy())
