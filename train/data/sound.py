"""What a sound suffers on its way to the web: rooms, other voices, music, noise, narrow channels, cheap codecs.

All clips at once and on any device: choices are masks, filters are FFTs. Nothing moves in time: every filter has zero
phase and every room keeps its direct path at delay 0. As many numbers are drawn whatever is chosen.
"""

import math
from collections.abc import Callable

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from .music import music
from .noise import Draws

RATE = 16000
ROOM = 12800  # samples of a room's answer, 0.8 s
RINGING = 4096  # silence behind a clip, into which a filter may ring
QUIET = 1e-5  # power (-50 dB) that sounds are added to where the clip itself is quieter

Effect = Callable[[Tensor, Tensor, Draws], Tensor]


def degrade_sound(waveform: Tensor, strength: float, noise: Draws) -> Tensor:
    """waveform: [B, N], 16 kHz, -1..1. Returns the same shape. strength: how likely and how strong each effect is.

    Only `babble` looks at other clips of the batch, and only where it may (Draws.alone).
    """
    if strength <= 0:
        return waveform
    x = waveform.float()
    coins = _draws(x, noise, len(EFFECTS))
    for coin, (chance, effect) in zip(coins, EFFECTS.values(), strict=True):
        amount = (coin < chance * strength).to(x) * strength
        x = torch.where(amount > 0, fitted(effect(x, amount, noise)), x)
    return x.to(waveform)


# ---- effects: (x [B, N], amount [B, 1], noise) -> [B, N]; those of amount 0 are not used --------------------------


def room(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """Reverberation: noise that dies away by 60 dB in 0.1..0.8 s; its power is -15..0 dB of the direct sound's."""
    decay, ratio, gap = _draws(x, noise, 3)
    seconds = torch.arange(ROOM, device=x.device) / RATE
    seconds_60 = 0.1 * 8.0**decay
    # the first echo comes 1..10 ms after the direct path
    heard = (seconds > 0.001 + 0.009 * gap).to(x)
    tail = noise.grain(ROOM, device=x.device).to(x) * torch.exp(-math.log(1000) * seconds / seconds_60) * heard
    tail = tail / tail.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
    size = next_fast_len(x.shape[1] + ROOM, real=True)
    answer = torch.fft.rfft(tail, size) * (amount * 10 ** (-15 * ratio / 20)) + 1
    return torch.fft.irfft(torch.fft.rfft(x, size) * answer, size)[:, : x.shape[1]]


def babble(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """One to three other clips of the batch, rolled in time, at 3..20 dB below the voice. Where a clip may not hear the
    others (Draws.alone) it is its own sound, backwards."""
    order, ratio, *rest = _draws(x, noise, 8)
    shifts, shares = rest[:3], rest[3:]
    clips, length = x.shape
    # a random ring of all clips: whoever sits `step` places on is somebody else as long as step < clips
    ring = order[:, 0].argsort()
    place = ring.argsort()
    others = torch.zeros_like(x)
    voices = unit(x.flip(1) if noise.alone else x)
    for step, shift, share in zip(range(1, 4 if noise.alone else min(clips, 4)), shifts, shares, strict=False):
        other = torch.arange(clips, device=x.device) if noise.alone else ring[(place + step) % clips]
        rolled = (torch.arange(length, device=x.device) + (shift * length).long()) % length
        # the first is always heard, each other one on half of the clips
        weight = torch.ones_like(share) if step == 1 else ((share - 0.5) * 2).clamp_min(0)
        others = others + weight * voices[other].gather(1, rolled)
    return _added(x, others, amount, 3 + 17 * ratio)


def background(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """Music at 0..20 dB below the voice."""
    (ratio,) = _draws(x, noise, 1)
    return _added(x, music(x.shape[1], RATE, x.device, noise).to(x), amount, 20 * ratio)


def hiss(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """Noise, white to brown, steady to swelling, at 0..30 dB below the voice."""
    slope, ratio, depth, pace, phase = _draws(x, noise, 5)
    grain = noise.grain(x.shape[1], device=x.device).to(x)
    coloured = filtered(grain, lambda hz: (hz.clamp_min(50) / 1000) ** -slope)
    seconds = torch.arange(x.shape[1], device=x.device) / RATE
    swell = 1 + 0.8 * depth * torch.sin(2 * math.pi * (0.2 * 20**pace * seconds + phase))
    return _added(x, coloured * swell, amount, 30 * ratio)


def tone(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """A microphone's colour: a tilt of up to 4 dB an octave and three broad peaks or dips of up to 9 dB."""
    tilt, *peaks = _draws(x, noise, 10)

    def response(hz: Tensor) -> Tensor:
        octave = (hz.clamp_min(50) / 1000).log2()
        decibel = (8 * tilt - 4) * octave
        for centre, width, gain in zip(peaks[::3], peaks[1::3], peaks[2::3], strict=True):
            away = (octave - (-3.3 + 6.1 * centre)) / (0.5 + 1.5 * width)
            decibel = decibel + (18 * gain - 9) * torch.exp(-(away**2))
        return 10 ** ((decibel * amount).clamp(-30, 20) / 20)

    return filtered(x, response)


def telephone(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """Only 200..400 to 2700..3800 Hz pass."""
    low, high = _draws(x, noise, 2)
    low, high = 200 + 200 * low, 2700 + 1100 * high

    def response(hz: Tensor) -> Tensor:
        passed = 1 / (1 + (low / hz.clamp_min(1)) ** 12) / (1 + (hz / high) ** 24)
        return passed.clamp_min(1e-6) ** (amount / 2)

    return filtered(x, response)


def low_bitrate(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """What a starved codec leaves: nothing over 2.5..7 kHz, and holes where a moment's spectrum is weak."""
    edge, holes = _draws(x, noise, 2)
    edge = 2500 + 4500 * edge
    x = filtered(x, lambda hz: torch.sigmoid((edge - hz) / 40).clamp_min(1e-4) ** amount)
    # frames of 32 ms under a window whose squares sum to one over the half overlap
    half, length = 256, x.shape[1]
    window = torch.sin(math.pi * (torch.arange(2 * half, device=x.device) + 0.5) / (2 * half))
    pieces = pad(x, (half, half + -length % half)).unfold(1, 2 * half, half) * window
    spectrum = torch.fft.rfft(pieces)
    level = spectrum.abs()
    weak = level < level.amax(2, keepdim=True) * 10 ** ((-45 + 25 * holes) / 20)[..., None]
    kept = torch.where(weak, (1 - amount).clamp_min(0)[..., None], 1.0)
    pieces = torch.fft.irfft(spectrum * kept) * window
    return (pieces[:, 1:, :half] + pieces[:, :-1, half:]).flatten(1)[:, :length]


def gain(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """-18..+6 dB; what would be over 1 is bent, not cut."""
    (level,) = _draws(x, noise, 1)
    return limited(x * 10 ** ((24 * level - 18) * amount / 20))


def overload(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """Driven 1.5..10 times too hot: peaks bent on half of the clips, cut off on the others. Keeps the peak."""
    drive, hard = _draws(x, noise, 2)
    peak = x.abs().amax(1, keepdim=True).clamp_min(1e-6)
    driven = x / peak * (1.5 * 6.7**drive) ** amount
    return torch.where(hard < 0.5, driven.clamp(-1, 1), torch.tanh(driven)) * peak


def coarse(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """8 bits a sample, even steps on half of the clips and those of mu-law on the others."""
    (law,) = _draws(x, noise, 1)
    peak = x.abs().amax(1, keepdim=True).clamp_min(1e-6)
    steps = 128 / amount.clamp_min(1e-3)
    even = (x / peak * steps).round() / steps * peak
    pressed = torch.sign(x) * torch.log1p(255 * x.abs().clamp_max(1)) / math.log(256)
    pressed = (pressed * steps).round() / steps
    return torch.where(law < 0.5, even, torch.sign(pressed) * torch.expm1(pressed.abs() * math.log(256)) / 255)


def gaps(x: Tensor, amount: Tensor, noise: Draws) -> Tensor:
    """One to three drop-outs of 30..150 ms; of strength under 1 they are not wholly silent."""
    centres, widths, counted = (draw.reshape(3, len(x), 1) for draw in _draws(x, noise, 9).split(3))
    sample = torch.arange(x.shape[1], device=x.device)
    kept = torch.ones_like(x)
    for index, (centre, width, here) in enumerate(zip(centres, widths, counted, strict=True)):
        inside = (sample - centre * x.shape[1]).abs() < (0.015 + 0.06 * width) * RATE
        silent = inside & ((here < 0.5) if index else torch.ones_like(here, dtype=torch.bool))
        kept = torch.where(silent, (1 - amount).clamp_min(0), kept)
    return x * kept


# the chance of each at strength 1, in the order of a sound's way: what is at the microphone, then its channel
EFFECTS: dict[str, tuple[float, Effect]] = {
    "room": (0.3, room),
    "babble": (0.2, babble),
    "background": (0.2, background),
    "hiss": (0.4, hiss),
    "tone": (0.4, tone),
    "telephone": (0.1, telephone),
    "low_bitrate": (0.15, low_bitrate),
    "gain": (0.7, gain),
    "overload": (0.08, overload),
    "coarse": (0.1, coarse),
    "gaps": (0.1, gaps),
}


# ---- parts ------------------------------------------------------------------------------------------------------


def _draws(x: Tensor, noise: Draws, count: int) -> Tensor:
    """[count, B, 1], 0..1."""
    return noise.uniform(count).to(x).T[..., None]


def filtered(x: Tensor, response: Callable[[Tensor], Tensor]) -> Tensor:
    """Zero phase: response(hz [F]) is the real gain, [F] or [B, F]."""
    size = next_fast_len(x.shape[1] + RINGING, real=True)
    hz = torch.fft.rfftfreq(size, 1 / RATE, device=x.device)
    return torch.fft.irfft(torch.fft.rfft(x, size) * response(hz), size)[:, : x.shape[1]]


def voice_power(x: Tensor) -> Tensor:
    """[B, 1]: mean power of the 25 ms stretches within 20 dB of the loudest, so that pauses do not count."""
    stretch = min(400, x.shape[1])
    power = x[:, : x.shape[1] // stretch * stretch].unflatten(1, (-1, stretch)).square().mean(2)
    loud = (power >= power.amax(1, keepdim=True) / 100).to(x)
    return (power * loud).sum(1, keepdim=True) / loud.sum(1, keepdim=True)


def unit(x: Tensor) -> Tensor:
    """Brought to a voice power of 1; silence stays silent."""
    return x / voice_power(x).sqrt().clamp_min(1e-4)


def _added(x: Tensor, other: Tensor, amount: Tensor, decibel: Tensor) -> Tensor:
    """other, so many decibel below the voice, and lower by the amount."""
    return x + unit(other) * voice_power(x).clamp_min(QUIET).sqrt() * 10 ** (-decibel / 20) * amount


def fitted(x: Tensor) -> Tensor:
    """Turned down where a peak is over 1: sounds that are added do not clip."""
    return x / x.abs().amax(1, keepdim=True).clamp_min(1)


def limited(x: Tensor) -> Tensor:
    """Peaks over 0.8 bent to stay below 1."""
    over = (x.abs() - 0.8).clamp_min(0)
    return torch.where(over > 0, torch.sign(x) * (0.8 + 0.2 * torch.tanh(over / 0.2)), x)
