"""What sounds and pictures suffer in training: reproducible, in range, of the strength asked for, and never in time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from train.data import pictures, sound
from train.data.noise import DeviceNoise, Noise
from train.data.sampling import SAMPLES

CLIPS, FRAMES = 5, 12
STRENGTHS = (0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def waveform() -> Tensor:
    """Something like voices: noise of an uneven spectrum, in syllables, of several levels."""
    rng = np.random.default_rng(0)
    time = np.arange(40 * SAMPLES) / sound.RATE
    grain = rng.normal(size=(CLIPS, len(time)))
    smooth = np.apply_along_axis(lambda row: np.convolve(row, np.hanning(12), "same"), 1, grain)
    syllables = np.clip(np.sin(2 * np.pi * (3 * time + rng.random((CLIPS, 1)))) + 0.3, 0, None)
    level = np.array([0.02, 0.1, 0.3, 0.6, 0.9])[:, None]
    x = smooth * syllables
    return torch.from_numpy(level * x / np.abs(x).max(1, keepdims=True)).float()


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """A textured face of a sort: fixed speckle of several sizes, and a dark mouth that opens and shuts."""
    rng = torch.Generator().manual_seed(0)
    side = 112
    x = sum(
        torch.nn.functional.interpolate(torch.rand(CLIPS, 3, n, n, generator=rng), (side, side), mode="bilinear")
        for n in (4, 16, 112)
    )
    x = (x / 3)[:, None].repeat(1, FRAMES, 1, 1, 1)
    for t in range(FRAMES):
        open_ = 4 + 2 * (t % 6)
        x[:, t, :, 80 - open_ : 80 + open_, 40:72] *= 0.3
    return x


def full(strength: float) -> Tensor:
    return torch.full((CLIPS, 1), strength)


def only(name: str, strength: float, clips: int = CLIPS) -> dict[str, Tensor]:
    return {other: torch.full((clips,), strength if other == name else 0.0) for other in pictures.CHANCES}


def noise(clips: int = CLIPS) -> Noise:
    return Noise(range(100, 100 + clips))


def distance(x: Tensor, y: Tensor) -> float:
    return float((x - y).square().mean())


# ---- sounds -----------------------------------------------------------------------------------------------------


def test_sound_of_strength_0_is_untouched_and_the_noise_decides(waveform: Tensor) -> None:
    assert torch.equal(sound.degrade_sound(waveform, 0, noise()), waveform)
    first, again = (sound.degrade_sound(waveform, 1.0, noise()) for _ in range(2))
    other = sound.degrade_sound(waveform, 1.0, Noise(range(CLIPS)))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, waveform)


def test_sound_stays_in_range_and_some_clips_stay_clean(waveform: Tensor) -> None:
    many = waveform.repeat(40, 1)
    y = sound.degrade_sound(many, 0.3, noise(len(many)))
    assert y.shape == many.shape and y.isfinite().all() and y.abs().max() <= 1
    untouched = (y == many).all(1).float().mean()
    assert 0.2 < untouched < 0.7  # the product of 1 - 0.3 * chance is 0.41


@pytest.mark.parametrize("name", sound.EFFECTS)
def test_each_effect_on_sound_grows_with_its_strength_and_moves_nothing(name: str, waveform: Tensor) -> None:
    _, effect = sound.EFFECTS[name]
    degraded = [effect(waveform, full(strength), noise()) for strength in STRENGTHS]
    away = [distance(waveform, y) for y in degraded]
    assert 0 < away[0] < away[1] < away[2]
    size = 2 * waveform.shape[1]
    for y in degraded:
        likeness = torch.fft.irfft(torch.fft.rfft(waveform, size).conj() * torch.fft.rfft(y, size))
        assert (likeness.argmax(1) == 0).all()


@pytest.mark.parametrize("name", sound.EFFECTS)
def test_silence_stays_silent_apart_from_what_is_added(name: str) -> None:
    silence = torch.zeros(CLIPS, 40 * SAMPLES)
    y = sound.EFFECTS[name][1](silence, full(1.0), noise())
    added = name in ("background", "hiss")
    assert y.isfinite().all() and y.abs().max() < 0.1
    assert bool(y.any()) == added


def test_echoes_follow_the_sound_and_filters_ring_evenly() -> None:
    click = torch.zeros(CLIPS, 40 * SAMPLES)
    click[:, 10000] = 0.5
    y = sound.room(click, full(1.0), noise())
    assert y[:, :10000].abs().max() < 1e-4 and torch.allclose(y[:, 10000], click[:, 10000], atol=1e-4)
    assert (y[:, 10017:].square().sum(1) > 0.005).all()
    for effect in (sound.telephone, sound.tone):
        y = effect(click, full(1.0), noise())
        assert torch.allclose(y[:, 9000:10000].flip(1), y[:, 10001:11001], atol=1e-5)


def test_low_bitrate_and_telephone_leave_nothing_over_their_band(waveform: Tensor) -> None:
    white = torch.randn(CLIPS, 40 * SAMPLES, generator=torch.Generator().manual_seed(1)) * 0.1
    hz = torch.fft.rfftfreq(white.shape[1], 1 / sound.RATE)
    for effect, edge in ((sound.low_bitrate, 7300), (sound.telephone, 5000)):
        power = torch.fft.rfft(effect(white, full(1.0), noise())).abs().square()
        assert (power[:, hz > edge].mean(1) < 0.01 * power[:, (hz > 500) & (hz < 2300)].mean(1)).all()


def test_added_sounds_stand_at_their_level(waveform: Tensor) -> None:
    for effect, low, high in ((sound.hiss, 0, 30), (sound.background, 0, 20), (sound.babble, 3, 20)):
        added = effect(waveform, full(1.0), noise()) - waveform
        below = 10 * (sound.voice_power(waveform) / sound.voice_power(added)).log10()
        assert (below > low - 0.1).all() and (below < high + 0.1).all()


def test_babble_is_other_clips_and_never_ones_own() -> None:
    tones = torch.sin(2 * torch.pi * torch.arange(40 * SAMPLES) / sound.RATE * torch.tensor([[400.0], [900], [2000]]))
    for seed in range(10):
        added = sound.babble(tones * 0.1, full(1.0)[:3], DeviceNoise(3, seed, "cpu")) - tones * 0.1
        power = torch.fft.rfft(added).abs()[:, [640, 1440, 3200]]  # of 400, 900 and 2000 Hz
        assert (power.diagonal() < 0.02 * power.amax(1)).all()
    alone = sound.babble(tones[:1] * 0.1, full(1.0)[:1], DeviceNoise(1, 0, "cpu"))
    assert torch.equal(alone, tones[:1] * 0.1)


def test_a_clips_sound_does_not_depend_on_the_others(waveform: Tensor) -> None:
    """Where processes share a batch, babble too is of the clip alone."""
    babbled = sound.babble(waveform, full(1.0), noise())
    assert not torch.allclose(babbled, waveform, atol=1e-3)
    assert torch.allclose(babbled[:2], sound.babble(waveform[:2], full(1.0)[:2], noise(2)), atol=1e-5)
    whole = sound.degrade_sound(waveform, 1.0, noise())
    assert torch.allclose(whole[:2], sound.degrade_sound(waveform[:2], 1.0, noise(2)), atol=1e-5)


# ---- pictures ---------------------------------------------------------------------------------------------------


def test_pictures_of_strength_0_are_untouched_and_the_noise_decides(frames: Tensor) -> None:
    assert torch.equal(pictures.degrade_frames(frames, 0, noise()), frames)
    first, again = (pictures.degrade_frames(frames, 1.0, noise()) for _ in range(2))
    other = pictures.degrade_frames(frames, 1.0, Noise(range(CLIPS)))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, frames)
    assert first.shape == frames.shape and first.isfinite().all() and first.min() >= 0 and first.max() <= 1
    assert torch.equal(pictures.degraded(frames, only("none", 1.0), noise()), frames)


@pytest.mark.parametrize("name", [name for name in pictures.CHANCES if name != "hold"])
def test_each_effect_on_pictures_grows_with_its_strength(name: str, frames: Tensor) -> None:
    away = [distance(frames, pictures.degraded(frames, only(name, s), noise())) for s in STRENGTHS]
    assert 1e-6 < away[0] < away[1] < away[2]


def test_pictures_keep_their_brightness_and_place(frames: Tensor) -> None:
    for name in ("blur", "shrink", "compress"):
        y = pictures.degraded(frames, only(name, 1.0), noise())
        assert (y.mean((1, 2, 3, 4)) - frames.mean((1, 2, 3, 4))).abs().max() < 0.02
        size = frames.shape[-2:]
        spectrum = [torch.fft.rfft2(z.mean((1, 2)) - z.mean((1, 2, 3, 4))[:, None, None]) for z in (frames, y)]
        likeness = torch.fft.irfft2(spectrum[0].conj() * spectrum[1], s=size)
        assert (likeness.flatten(1).argmax(1) == 0).all()


def test_held_frames_are_never_more_than_one_from_their_time() -> None:
    time = torch.arange(FRAMES).float().view(1, -1, 1, 1, 1).expand(60, -1, 3, 2, 2) / FRAMES
    y = pictures.held(time, torch.ones(60), noise(60))
    away = ((y - time) * FRAMES).round()[:, :, 0, 0, 0]
    assert set(away.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (away.abs().sum(1) >= FRAMES // 3).all()  # acts on every clip
    ahead = (away > 0).any(1)
    assert (away[~ahead].mean() + 0.5).abs() < 0.1 and away[ahead].mean().abs() < 0.1


def test_few_pixels_lose_detail_and_a_codec_works_in_blocks(frames: Tensor) -> None:
    def detail(x: Tensor) -> Tensor:
        return (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3, 4))

    assert (detail(pictures.degraded(frames, only("shrink", 1.0), noise())) < 0.7 * detail(frames)).all()
    y = pictures.degraded(frames, only("compress", 6.0), noise())
    steps = (y[..., 1:] - y[..., :-1]).abs().mean((1, 2, 3))  # [B, 111]
    for clip in steps:
        edges = torch.stack([clip[start::8].mean() for start in range(8)])
        assert edges.max() > 1.5 * edges.median()


def test_a_clips_pictures_do_not_depend_on_the_others(frames: Tensor) -> None:
    whole = pictures.degrade_frames(frames, 1.0, noise())
    # a value on the edge of a quantisation step may fall either way by the order of a sum
    away = (whole[:2] - pictures.degrade_frames(frames[:2], 1.0, noise(2))).abs()
    assert (away > 1e-3).float().mean() < 1e-3


def test_pictures_that_are_not_square(frames: Tensor) -> None:
    wide = frames[..., :64, :]
    y = pictures.degraded(wide, {name: torch.ones(CLIPS) for name in pictures.CHANCES}, noise())
    assert y.shape == wide.shape and y.isfinite().all() and not torch.equal(y, wide)
