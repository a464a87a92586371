"""What a picture suffers on its way to the web: hands before the face, poor lenses, few pixels, few frames, few bits.

All clips at once and on any device. Whatever is linear and works on rows and columns by themselves (blur, resizing,
the 8 x 8 DCT of a codec on its own grid) is one pair of matrices a clip: pixels to coefficients, and one pair back.
As many numbers are drawn whatever is chosen.
"""

import math
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from synclip_core.models.layers import full_precision

from .noise import Draws, Rows

# the chance of each at strength 1
CHANCES = {"occlude": 0.15, "hold": 0.06, "blur": 0.25, "shrink": 0.35, "grain": 0.25, "compress": 0.4}
SMALLEST, LARGEST = 24, 80  # pixels across the face square of a clip that lost its resolution
BLOCK, MACRO = 8, 16
# quantisation of luma and chroma, ITU-T T.81 (JPEG), tables K.1 and K.2
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)
# RGB -> Y, Cb, Cr (ITU-R BT.601, full range, chroma around 0)
YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))

RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def degrade_frames(frames: Tensor, strength: float, noise: Draws) -> Tensor:
    """frames: [B, T, 3, H, W], 0..1. Returns the same shape. strength: how likely and how strong each effect is.

    One draw a clip. Only `hold` moves anything in time, by one frame at most.
    """
    if strength <= 0:
        return frames
    coins = noise.uniform(len(CHANCES)).to(frames.device).float().T
    amounts = {
        name: (coin < chance * strength).float() * strength
        for coin, (name, chance) in zip(coins, CHANCES.items(), strict=True)
    }
    if frames.device.type != "cpu":
        return degraded(frames, amounts, noise)
    # a CPU works on those alone that suffer anything
    struck = torch.stack(list(amounts.values())).sum(0).nonzero()[:, 0]
    if not len(struck):
        return frames
    some = degraded(frames[struck], {name: amount[struck] for name, amount in amounts.items()}, Rows(noise, struck))
    return frames.index_copy(0, struck, some)


@torch.no_grad()
def degraded(frames: Tensor, amounts: Mapping[str, Tensor], noise: Draws) -> Tensor:
    """As above, with the strength of each effect of CHANCES for each clip, [B]; 0: not this one."""
    # matrices in bfloat16 would be a loss of their own
    with full_precision(frames.device):
        x = frames.float()
        x = occluded(x, amounts["occlude"], noise)
        x = held(x, amounts["hold"], noise)
        x = through_codec(x, *(amounts[name] for name in ("blur", "shrink", "grain", "compress")), noise)
        return x.to(frames)


# ---- effects ----------------------------------------------------------------------------------------------------


def occluded(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """A soft-edged ellipse or box, plain or speckled, at rest or slowly moving, before the face for part of a clip."""
    draws = noise.uniform(16).to(x).T[..., None, None, None]  # each [B, 1, 1, 1]
    across, down, wide, high, angle, move_x, move_y, boxed, soft, begin, lasts, *rest = draws
    still, speckled, *colour = rest
    texture = noise.grain(*x.shape[2:], device=x.device).to(x)[:, None]
    clips, frames, _, height, width = x.shape
    time = torch.linspace(0, 1, frames, device=x.device).view(1, -1, 1, 1)
    rows = ((torch.arange(height, device=x.device) + 0.5) / height).view(1, 1, -1, 1)
    columns = ((torch.arange(width, device=x.device) + 0.5) / width).view(1, 1, 1, -1)
    # 1. where: up to a quarter of the square's side from the middle to the edge; half of them stay where they are
    speed = 0.5 * (still < 0.5).to(x)
    u = columns - (0.1 + 0.8 * across + speed * (move_x - 0.5) * time)
    v = rows - (0.1 + 0.8 * down + speed * (move_y - 0.5) * time)
    cos, sin = torch.cos(math.pi * angle), torch.sin(math.pi * angle)
    scale = amount.view(-1, 1, 1, 1).clamp_min(1e-3)
    along, beside = (u * cos + v * sin).abs(), (v * cos - u * sin).abs()
    along, beside = along / ((0.06 + 0.18 * wide) * scale), beside / ((0.06 + 0.18 * high) * scale)
    away = torch.where(boxed < 0.5, torch.maximum(along, beside), torch.hypot(along, beside))
    cover = torch.sigmoid((1 - away) / (0.02 + 0.2 * soft))
    # 2. when: a fifth of the clip to all of it
    share = 0.2 + 0.8 * lasts
    first = begin * (1 - share)
    cover = cover * ((time >= first) & (time <= first + share)).to(x)
    # 3. what
    paint = torch.stack(colour, 2) + (speckled > 0.5).to(x)[..., None] * 0.25 * texture
    covered = torch.lerp(x, paint.clamp(0, 1).expand_as(x), cover[:, :, None])
    return torch.where(amount.view(-1, 1, 1, 1, 1) > 0, covered, x)


def held(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """A low frame rate: of two frames the first is shown twice, or of three the middle one thrice.

    So that no frame is shown more than one frame from its own time: the sound stays where it was.
    """
    kind, phase = noise.uniform(2).to(x).T[..., None]
    time = torch.arange(x.shape[1], device=x.device)
    pairs = time - (time + (phase * 2).long()) % 2
    threes = time - (time + (phase * 3).long()) % 3 + 1
    shown = torch.where(kind < 0.35 * amount[:, None], threes, pairs).clamp(0, x.shape[1] - 1)
    shown = torch.where(amount[:, None] > 0, shown, time)
    return x[torch.arange(len(x), device=x.device)[:, None], shown]


def through_codec(x: Tensor, blur: Tensor, shrink: Tensor, grain: Tensor, compress: Tensor, noise: Draws) -> Tensor:
    """A lens out of focus or a moving head, fewer pixels, their grain, and a codec that keeps few bits of them.

    The codec works on the reduced picture, so that its blocks grow with the pixels: 8 x 8 DCT, chroma halved (4:2:0,
    for all clips that suffer anything here), on half of the clips of the difference to the frame before, as H.264
    without motion.
    """
    focus, motion, upright, pixels, level, quality, mild, flat, predicted, off_x, off_y = noise.uniform(11).to(x).T
    clips, frames, _, height, width = x.shape
    canvas = [MACRO * math.ceil((side + MACRO - 1) / MACRO) for side in (height, width)]
    speckle = noise.grain(frames, 1, canvas[1], canvas[0], device=x.device).to(x)
    # 1. matrices of each axis: pixels -> coefficients -> pixels, for luma and for chroma
    small = LARGEST * (SMALLEST / LARGEST) ** pixels
    ways = []
    motion = (2 * motion - 1).clamp_min(0)  # none on half of the clips
    for side, size, offset, moves in (
        (height, canvas[0], off_y, upright < 0.5),
        (width, canvas[1], off_x, upright >= 0.5),
    ):
        unit = blur * side / 112  # lengths are meant for a square of 112 pixels
        sharp = blurring(side, 2.2 * focus * unit, 1 + 6 * motion * moves * unit)
        left = (side * (small / side) ** shrink).floor().clamp(min(8, side), side)
        ways.append(resizing(side, size, left, (offset * MACRO).floor(), sharp))
    # 2. to coefficients; the canvas lies on its side, [.., columns, rows], which spares two transpositions
    ycc = torch.einsum("dc,btchw->dbthw", constant(YCC, x.device), x)
    luma = _apply(ycc[0][:, :, None], ways[1].into, ways[0].into)
    chroma = _apply(ycc[1:].permute(1, 2, 0, 3, 4), ways[1].into_half, ways[0].into_half)
    # 3. grain is white in pixels and in coefficients alike
    luma = luma + speckle * (0.07 * level * grain).view(-1, 1, 1, 1, 1)
    # 4. quantisation
    # a small face has few blocks to be told apart by: coarser steps would leave none of it
    step = _each(compress * 0.8 * 10**quality / 255 * (small / LARGEST) ** (shrink / 2))
    dead = _each(1 / 6 + mild / 3)
    inter = _each((predicted < 0.5).to(x))
    coded = _each(compress) > 0
    luma = torch.where(coded, quantised(luma, step * _table(LUMA, luma, flat), dead, inter), luma)
    # at few bits H.264 spares chroma
    chroma = torch.where(coded, quantised(chroma, 0.6 * step * _table(CHROMA, chroma, flat), dead, inter), chroma)
    # 5. and back
    luma = _apply(luma, ways[0].back, ways[1].back)
    chroma = _apply(chroma, ways[0].back_half, ways[1].back_half)
    rgb = torch.einsum("cd,btdhw->btchw", constant(RGB, x.device), torch.cat([luma, chroma], 2))
    struck = (blur > 0) | (shrink > 0) | (grain > 0) | (compress > 0)
    return torch.where(_each(struck), rgb.clamp(0, 1), x)


# ---- parts ------------------------------------------------------------------------------------------------------


def quantised(coefficients: Tensor, step: Tensor, dead: Tensor, inter: Tensor) -> Tensor:
    """coefficients: [B, T, C, I, J]; step, dead, inter: broadcast to it. What a decoder would restore.

    dead: share of a step that is added before rounding down; 1/2 is rounding, less kills the weak ones, as encoders do.
    inter: 1: the difference to the restored frame before is what is coded; 0: each frame by itself.
    """
    *_, first, second = coefficients.shape
    constant = torch.zeros(first, second, dtype=torch.bool, device=coefficients.device)
    constant[::BLOCK, ::BLOCK] = True
    dead = torch.where(constant, 0.5, dead)[:, 0]  # a mean that is rounded down would darken the picture
    step, inter = step[:, 0].clamp_min(1e-6), inter[:, 0]
    restored: list[Tensor] = []
    for frame in coefficients.unbind(1):
        expected = restored[-1] * inter if restored else torch.zeros_like(frame)
        rest = (frame - expected) / step
        restored.append(expected + torch.sign(rest) * (rest.abs() + dead).floor() * step)
    return torch.stack(restored, 1)


class Ways:
    """Matrices of one axis, [B, out, in]: into the coefficients and back, at full and at half resolution."""

    def __init__(self, reduced: Tensor, enlarged: Tensor) -> None:
        """reduced: [B, canvas, side]; enlarged: [B, side, canvas]."""
        size = reduced.shape[1]
        cosine, half = (block_cosine(n, reduced) for n in (size, size // 2))
        pairs = halving(size, reduced)
        self.into, self.back = cosine @ reduced, enlarged @ cosine.T
        self.into_half, self.back_half = half @ pairs @ reduced, enlarged @ doubling(size, reduced) @ half.T


def resizing(side: int, size: int, pixels: Tensor, offset: Tensor, sharp: Tensor) -> Ways:
    """A side of `side` pixels brought to `pixels` by areas, laid on a canvas of `size` at `offset`, its edge repeated
    beyond it; and linearly back. pixels, offset: [B], whole numbers; sharp: [B, side, side], what comes before."""
    ratio = (side / pixels)[:, None, None]
    spot = torch.arange(size, device=pixels.device)[None] - offset[:, None]
    pixel = torch.minimum(spot.clamp_min(0), pixels[:, None] - 1)[..., None]
    edge = torch.arange(side, device=pixels.device)
    low, high = torch.maximum(pixel * ratio, edge), torch.minimum((pixel + 1) * ratio, edge + 1)
    reduced = (high - low).clamp_min(0) / ratio
    place = ((edge + 0.5) / ratio[:, 0] - 0.5).clamp_min(0).minimum(pixels[:, None] - 1) + offset[:, None]
    enlarged = (1 - (place[..., None] - torch.arange(size, device=pixels.device)).abs()).clamp_min(0)
    return Ways(reduced @ sharp, enlarged)


def blurring(side: int, deviation: Tensor, length: Tensor) -> Tensor:
    """[B, side, side]: a Gaussian of that deviation after a box of that length (1: none), in pixels. Each [B]."""
    spot = torch.arange(side, device=deviation.device)
    away = (spot[:, None] - spot).abs().to(deviation)
    lens = torch.exp(-((away / deviation.clamp_min(0.05)[:, None, None]) ** 2) / 2)
    path = (length[:, None, None] / 2 + 0.5 - away).clamp(0, 1)
    return (lens / lens.sum(2, keepdim=True)) @ (path / path.sum(2, keepdim=True))


def block_cosine(size: int, like: Tensor) -> Tensor:
    """[size, size]: the orthonormal DCT of 8 on each block of the diagonal."""
    spot = torch.arange(BLOCK, device=like.device).to(like)
    table = torch.cos(math.pi * (2 * spot + 1) * spot[:, None] / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    table[0] /= math.sqrt(2)
    return torch.block_diag(*[table] * (size // BLOCK))


def halving(size: int, like: Tensor) -> Tensor:
    """[size / 2, size]: means of pairs."""
    return torch.eye(size // 2, device=like.device).to(like).repeat_interleave(2, 1) / 2


def doubling(size: int, like: Tensor) -> Tensor:
    """[size, size / 2]: linear between the middles of pairs."""
    place = ((torch.arange(size, device=like.device).to(like) + 0.5) / 2 - 0.5).clamp(0, size // 2 - 1)
    return (1 - (place[:, None] - torch.arange(size // 2, device=like.device)).abs()).clamp_min(0)


def _apply(x: Tensor, last: Tensor, other: Tensor) -> Tensor:
    """Matrices on the last axis and the one before; the result has the two exchanged. x: [B, T, C, I, J]; last: [B,
    J', J]; other: [B, I', I]. Returns [B, T, C, J', I']."""
    batch, frames, channels, rows, _ = x.shape
    x = (x.flatten(1, 3) @ last.mT).unflatten(1, (frames, channels, rows)).mT
    return (x.flatten(1, 3) @ other.mT).unflatten(1, (frames, channels, last.shape[1]))


@lru_cache
def constant(values: tuple, device: torch.device) -> Tensor:
    """Numbers that are known before, copied to a device once: a copy waits for all that the device has to do."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=torch.float32)


def _table(table: tuple, coefficients: Tensor, flat: Tensor) -> Tensor:
    """[B, 1, 1, I, J]: a quantisation table over all blocks, on some clips nearly flat as H.264's."""
    first, second = coefficients.shape[-2:]
    steps = constant(table, coefficients.device).T.repeat(first // BLOCK, second // BLOCK)
    return torch.lerp(steps, torch.full_like(steps, 20.0), _each(flat))


def _each(values: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1, 1)
