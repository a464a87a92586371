"""Window lag, clip lag, shift consistency and LSE against closed forms and naive loops."""

import numpy as np
import pytest

from synclip_core.errors import SyncLipError
from synclip_core.metrics.clip_lag import clip_lag, draw_shift, shift_audio
from synclip_core.metrics.distance import (
    best_lag,
    curve_confidence,
    distance_band,
    distance_curve,
    median,
    window_curves,
)
from synclip_core.metrics.lse import lip_sync_error
from synclip_core.metrics.shift_consistency import shift_consistency
from synclip_core.metrics.window_lag import WindowLag, window_lag, window_lags


def unit(generator: np.random.Generator, frames: int, width: int = 32) -> np.ndarray:
    x = generator.standard_normal((frames, width)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def planted(lag: int, frames: int = 120, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """v_{u + lag} matches a_u."""
    generator = np.random.default_rng(seed)
    source = unit(generator, frames + 2 * abs(lag) + noise_pad)
    start = abs(lag)
    vocal = source[start : start + frames]
    audio = source[start + lag : start + lag + frames]
    return audio, vocal + noise * generator.standard_normal(vocal.shape).astype(np.float32)


noise_pad = 8


def naive_band(audio: np.ndarray, vocal: np.ndarray, max_lag: int, valid: np.ndarray) -> np.ndarray:
    band = np.full((len(audio), 2 * max_lag + 1), np.nan)
    for u in range(len(audio)):
        for lag in range(-max_lag, max_lag + 1):
            if 0 <= u + lag < len(vocal) and valid[u + lag]:
                band[u, lag + max_lag] = 1 - float(audio[u] @ vocal[u + lag])
    return band


@pytest.mark.parametrize(("frames", "max_lag", "block"), [(50, 4, 7), (9, 15, 256), (1, 3, 4), (300, 15, 256)])
def test_band_equals_double_loop(frames: int, max_lag: int, block: int) -> None:
    generator = np.random.default_rng(frames)
    audio, vocal = unit(generator, frames), unit(generator, frames)
    valid = generator.random(frames) > 0.3
    expected = naive_band(audio, vocal, max_lag, valid)
    np.testing.assert_allclose(distance_band(audio, vocal, max_lag, valid, block=block), expected, atol=1e-6)


def test_curve_is_the_mean_over_existing_pairs_and_needs_five() -> None:
    generator = np.random.default_rng(1)
    audio, vocal = unit(generator, 18), unit(generator, 18)
    valid = np.arange(18) != 3
    band = naive_band(audio, vocal, 15, valid)
    expected = np.full(31, np.nan)
    for j in range(31):
        values = band[~np.isnan(band[:, j]), j]
        if len(values) >= 5:
            expected[j] = values.mean()
    assert np.isnan(expected).sum() > 0
    np.testing.assert_allclose(distance_curve(audio, vocal, 15, valid), expected, atol=1e-6)
    weights = generator.random(18)
    weighted = distance_curve(audio, vocal, 2, valid, weights=weights)
    there = ~np.isnan(band[:, 16])
    assert weighted[3] == pytest.approx((band[there, 16] * weights[there]).sum() / weights[there].sum(), abs=1e-6)


def test_too_short_for_any_lag() -> None:
    audio = unit(np.random.default_rng(0), 4)
    assert best_lag(distance_curve(audio, audio)) is None
    assert np.isnan(curve_confidence(distance_curve(audio, audio)))
    assert distance_band(audio[:0], audio[:0]).shape == (0, 31)


@pytest.mark.parametrize("lag", [-15, -12, -3, 0, 1, 7, 15])
def test_planted_lag_is_found_with_its_sign(lag: int) -> None:
    audio, vocal = planted(lag)
    assert best_lag(distance_curve(audio, vocal)) == lag
    for window in (1, 5, 15):
        assert set(window_lags(distance_band(audio, vocal), window).tolist()) == {lag}


def test_nan_tokens_and_wrong_shapes_are_refused() -> None:
    audio = unit(np.random.default_rng(0), 40)
    broken = audio.copy()
    broken[3, 2] = np.nan
    with pytest.raises(SyncLipError, match="vocal.*NaN"):
        distance_curve(audio, broken)
    with pytest.raises(ValueError, match="one shape"):
        distance_curve(audio, audio[:30])


def naive_window_lag(audio: np.ndarray, vocal: np.ndarray, window: int, truth: int, valid: np.ndarray) -> WindowLag:
    half, hits, total, offsets = window // 2, 0, 0, 0.0
    for t in range(len(audio)):
        frames = range(t - half, t + half + 1)
        reach = range(t - half - 15, t + half + 16)
        if reach[0] < 0 or reach[-1] >= len(audio) or not all(valid[i] for i in reach):
            continue
        curve = [np.mean([1 - audio[u] @ vocal[u + lag] for u in frames]) for lag in range(-15, 16)]
        error = abs(int(np.argmin(curve)) - 15 - truth)
        hits, total, offsets = hits + (error <= 1), total + 1, offsets + error
    return WindowLag(total, hits, offsets)


@pytest.mark.parametrize("window", [1, 5, 15])
def test_window_lag_equals_naive_loops(window: int) -> None:
    audio, vocal = planted(2, 90, noise=0.25)
    vocal /= np.linalg.norm(vocal, axis=1, keepdims=True)
    valid = np.arange(90) != 85
    ours = window_lag(audio, vocal, 2, (window,), valid=valid)[window]
    assert ours == naive_window_lag(audio, vocal, window, 2, valid)
    assert 0 < ours.windows == 85 - 30 - window + 1
    assert window_lag(audio, vocal, 2, (window,))[window].windows == 90 - 30 - window + 1


def test_windows_can_be_picked_by_their_centre() -> None:
    audio, vocal = planted(0, 120)
    vocal[:60] = planted(0, 60, seed=9)[1]
    late = np.arange(120) >= 80
    assert window_lag(audio, vocal, centres=late)[5] == WindowLag(120 - 17 - 80, 120 - 17 - 80, 0.0)
    rest = window_lag(audio, vocal, centres=~late)[5]
    assert rest.windows == 80 - 17 and rest.hits < rest.windows


def test_windows_pool_and_short_clips_have_none() -> None:
    audio, vocal = planted(0, 60)
    one = window_lag(audio, vocal, 0)[5]
    other = window_lag(audio, vocal, 4)[5]
    both = one + other
    assert (one.acc, one.offset, other.acc, other.offset) == (1.0, 0.0, 0.0, 4.0)
    assert (both.acc, both.offset) == (0.5, 2.0)
    short = window_lag(audio[:34], vocal[:34])
    assert (short[1].windows, short[5].windows, short[5].acc, short[5].offset) == (4, 0, None, None)


def test_window_lag_chance_levels() -> None:
    generator = np.random.default_rng(7)
    pooled = WindowLag()
    for _ in range(60):
        pooled += window_lag(unit(generator, 130), unit(generator, 130), windows=(1,))[1]
    assert pooled.windows == 6000 and pooled.acc is not None and pooled.offset is not None
    assert pooled.acc == pytest.approx(3 / 31, abs=4 * np.sqrt(0.097 * 0.903 / 6000))
    assert pooled.offset == pytest.approx(2 * sum(range(16)) / 31, abs=0.3)  # 7.74


def test_a_collapsed_model_does_not_look_in_sync() -> None:
    constant = np.ones((100, 8), np.float32)
    assert window_lag(constant, constant)[1].acc == 0
    assert curve_confidence(distance_curve(constant, constant)) == pytest.approx(0, abs=1e-6)


def test_median_and_window_curves_equal_numpy() -> None:
    generator = np.random.default_rng(3)
    curves = generator.random((50, 31))
    curves[generator.random(curves.shape) > 0.7] = np.nan
    curves[0, 1:] = np.nan
    np.testing.assert_allclose(median(curves), np.nanmedian(curves, axis=1))
    np.testing.assert_allclose(curve_confidence(curves), np.nanmedian(curves, axis=1) - np.nanmin(curves, axis=1))
    starts, means = window_curves(curves, 10, 5, min_share=0.5)
    assert starts.tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    for start, mean in zip(starts, means, strict=True):
        part = curves[start : start + 10]
        enough = np.isfinite(part).sum(0) >= 5
        np.testing.assert_allclose(mean[enough], np.nanmean(part, axis=0)[enough])
        assert np.isnan(mean[~enough]).all()


def test_lse_equals_naive_loops() -> None:
    audio, vocal = planted(1, 70, noise=0.2)
    result = lip_sync_error(audio, vocal, "ours", window=5)
    band = naive_band(audio, vocal / np.linalg.norm(vocal, axis=1, keepdims=True), 15, np.ones(70, bool))
    curves = [band[t - 2 : t + 3].mean(0) for t in range(17, 70 - 17)]
    assert result.windows == len(curves) == 36
    assert result.lse_d == pytest.approx(np.mean([c.min() for c in curves]), abs=1e-6)
    assert result.lse_c == pytest.approx(np.mean([np.median(c) - c.min() for c in curves]), abs=1e-6)
    np.testing.assert_allclose(result.sync_conf[4], np.median(curves[4]) - curves[4].min(), atol=1e-6)
    short = lip_sync_error(audio[:34], vocal[:34], "ours")
    assert (short.windows, short.lse_c, short.lse_d, short.embedding) == (0, None, None, "ours")


def test_clip_lag_counts_missing_estimates_as_misses() -> None:
    result = clip_lag([3, -2, None, 10], [3, -3, 0, 4])
    assert (result.count, result.undefined, result.within_1) == (3, 1, 0.5)
    assert result.mean_error_ms == pytest.approx((0 + 1 + 6) / 3 * 40)
    assert clip_lag([], []).within_1 is None


def test_shift_audio_moves_by_whole_frames_and_fills_with_silence() -> None:
    wave = np.arange(1, 640 * 5 + 1, dtype=np.float32)
    early = shift_audio(wave, 2)
    np.testing.assert_array_equal(early[: 640 * 3], wave[1280:])
    assert not early[640 * 3 :].any()
    late = shift_audio(wave, -2)
    np.testing.assert_array_equal(late[1280:], wave[: 640 * 3])
    assert not late[:1280].any()
    assert not shift_audio(wave, 9).any() and not shift_audio(wave, -9).any()
    np.testing.assert_array_equal(shift_audio(wave, 0), wave)


def test_shifted_audio_has_the_lag_it_was_given() -> None:
    """The sign, through the samples: a token is its tick's first sample's place in a table of random directions."""
    table = unit(np.random.default_rng(5), 80)
    wave = np.repeat(np.arange(1, 81), 640).astype(np.float32)
    for lag in (-12, -1, 0, 5):
        moved = shift_audio(wave, lag)[::640].astype(int)
        audio = np.where(moved[:, None] > 0, table[moved - 1], 0)
        assert best_lag(distance_curve(audio, table)) == lag


def test_draw_shift_range() -> None:
    generator = np.random.default_rng(0)
    drawn = {draw_shift(generator) for _ in range(500)}
    assert drawn == set(range(-12, 13))
    assert {abs(draw_shift(generator, 12, 3)) for _ in range(500)} == set(range(3, 13))


def test_shift_consistency_by_hand() -> None:
    result = shift_consistency([-2, 1, None], [[3, -14], [4, 9], [2]], [[5, -11], [3, 4], [2]])
    assert result.shifts == 5
    assert result.share == pytest.approx(3 / 5)  # 5 of 5, -12 of -11, 3 of 3; 8 of 4 and the clip without a lag miss
    assert (result.own_mean, result.own_std, result.own_counts) == (-0.5, 1.5, {-2: 1, 1: 1})
    assert shift_consistency([], [], []).share is None
