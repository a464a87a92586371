"""What a batch suffers before the model sees it. One draw a clip: it is still one person in one light."""

import math

import torch
from torch import Tensor

from synclip_core.faces.crop import model_frames
from synclip_core.faces.geometry import GEOMETRY_MIRROR

from .noise import Draws


def geometric(
    crops: Tensor,
    geometry: Tensor,
    regions: Tensor,
    margin: float,
    size: tuple[int, int],
    strength: float,
    noise: Draws,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut the canonical square, moved, turned, scaled, stretched and mirrored by one draw a clip and a little a frame.

    crops: [B, T, S, S, 3] uint8 with `margin` around the canonical square; geometry: [B, T, P, 2] canonical; regions:
    [B, T, 5, 4] canonical boxes (media.geometry.REGIONS). size: height and width of the frames; the square is stretched
    where they differ, see media.crop.model_frames. Returns frames [B, T, 3, height, width] 0..1, and geometry and
    regions in the new square.
    """
    batch, frames = crops.shape[:2]

    def normal(*shape: int, scale: float) -> Tensor:
        return noise.normal(*shape).to(geometry) * (scale * strength)

    scale = torch.exp(normal(1, scale=0.07) + normal(frames, scale=0.008))
    stretch = torch.exp(normal(1, scale=0.05)).expand(-1, frames)
    angle = normal(1, scale=0.07) + normal(frames, scale=0.01)
    shift = normal(1, 2, scale=0.025) + normal(frames, 2, scale=0.004)
    flip = noise.uniform(1).to(geometry) < (0.5 if strength > 0 else 0.0)
    sign = torch.where(flip, -1.0, 1.0).to(geometry).expand(-1, frames)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    # output point (centred) -> canonical point (centred): linear @ p + shift
    linear = torch.stack(
        [
            torch.stack([cos * stretch * sign, -sin / stretch], -1),
            torch.stack([sin * stretch * sign, cos / stretch], -1),
        ],
        -2,
    )
    placed = torch.cat([linear, 2 * shift[..., None]], -1)
    out = model_frames(crops.flatten(0, 1), size, margin, placed.flatten(0, 1))
    # the geometry moves by the inverse
    back = _inverse(linear)
    corners = regions[..., [0, 1, 2, 1, 0, 3, 2, 3]].unflatten(-1, (4, 2)).flatten(2, 3)

    def carried(points: Tensor) -> Tensor:
        return torch.einsum("btij,btpj->btpi", back, points - 0.5 - shift[:, :, None]) + 0.5

    moved = carried(geometry)
    mirror = torch.from_numpy(GEOMETRY_MIRROR).to(moved.device)
    moved = torch.where(flip[:, :, None, None], moved[:, :, mirror], moved)
    boxes = carried(corners).unflatten(2, (-1, 4))
    boxes = torch.cat([boxes.amin(3), boxes.amax(3)], -1)  # left and right eye may change places: they weigh the same
    return out.unflatten(0, (batch, frames)), moved, boxes


def _inverse(linear: Tensor) -> Tensor:
    """Of [..., 2, 2], in closed form: a library call would wait for the device."""
    (a, b), (c, d) = (row.unbind(-1) for row in linear.unbind(-2))
    det = (a * d - b * c)[..., None, None]
    return torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / det


def photometric(frames: Tensor, strength: float, noise: Draws) -> Tensor:
    """Colour, brightness, contrast, saturation, tone and noise of bypass 2 (SyncLipMAE, section 3.2).

    frames: [B, T, 3, H, W], 0..1. Returns the same shape.
    """
    if strength <= 0:
        return frames

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * noise.uniform(*shape, 1, 1)).to(frames)

    x = frames
    # saturation 0..1.5, one clip in five grey
    grey = (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(2, keepdim=True)
    saturation = uniform(1 - 0.6 * strength, 1 + 0.5 * strength, 1, 1)
    saturation = torch.where(uniform(0, 1, 1, 1) < 0.2 * strength, torch.zeros_like(saturation), saturation)
    x = torch.lerp(grey, x, saturation)
    # white balance, brightness and contrast as one affine map, then a quadratic tone curve (a cheap gamma)
    gain = uniform(1 - 0.2 * strength, 1 + 0.2 * strength, 1, 3) * uniform(1 - 0.3 * strength, 1 + 0.3 * strength, 1, 1)
    middle = x.mean((1, 2, 3, 4), keepdim=True)
    contrast = uniform(1 - 0.4 * strength, 1 + 0.4 * strength, 1, 1)
    x = torch.addcmul(middle * (1 - contrast) * gain, x, contrast * gain).clamp_(0, 1)
    bend = uniform(-0.7 * strength, 0.7 * strength, 1, 1)
    x = x * ((1 + bend) - bend * x)
    level = uniform(0, 0.05 * strength, 1, 1) * (uniform(0, 1, 1, 1) < 1 / 3)
    grain = noise.grain(x.shape[1], 1, *x.shape[3:], device=x.device).to(x)
    return (x + level * grain).clamp(0, 1)


def mel(log_mel: Tensor, strength: float, noise: Draws) -> Tensor:
    """Other voices, other rooms: the frequency axis warped, noise added. log_mel: [B, bands, M], log of power."""
    if strength <= 0:
        return log_mel
    bands = log_mel.shape[1]
    axis = torch.linspace(-1, 1, bands, device=log_mel.device)
    factor = torch.exp(noise.normal(1).to(log_mel) * 0.07 * strength)
    offset = noise.normal(1).to(log_mel) * 0.03 * strength
    place = ((axis[None] * factor + offset + 1) / 2 * (bands - 1)).clamp(0, bands - 1)
    low = place.floor().long().clamp(max=bands - 2)
    share = (place - low)[..., None].to(log_mel)
    low = low[..., None].to(log_mel.device).expand_as(log_mel)
    warped = torch.lerp(log_mel.gather(1, low), log_mel.gather(1, low + 1), share)
    # noise of a random level and a random slope over frequency, on half of the clips
    noisy = (noise.uniform(1, 1) < 0.5).to(log_mel.device)
    level = warped.amax((1, 2), keepdim=True) - 3 - 7 * noise.uniform(1, 1).to(log_mel)
    slope = noise.normal(1, 1).to(log_mel) * axis[None, :, None]
    grain = noise.grain(*warped.shape[1:], device=warped.device).to(log_mel) * (0.5 * math.sqrt(strength))
    return torch.where(noisy, torch.logaddexp(warped, level + slope + grain), warped)
