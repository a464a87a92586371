"""The files of the robustness benchmark are what their names say: of that level, and nowhere moved in time."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.worse import files as worse_files
from benchmarks.worse import sound as worse_sound
from synclip_core.clock import RATE
from synclip_core.demo import CLIP
from synclip_core.media.audio import read_audio
from synclip_core.media.video import iter_ticks


@pytest.fixture(scope="module")
def source() -> worse_files.Source:
    return worse_files.Source(CLIP, lambda: [np.roll(read_audio(CLIP), RATE // 3)])


def envelope(x: np.ndarray) -> np.ndarray:
    smooth = np.convolve(np.abs(x), np.hanning(320), "same")
    return smooth - smooth.mean()


def delay_ms(reference: np.ndarray, x: np.ndarray) -> float:
    """Of the loudness of x behind that of the reference."""
    size = 2 * min(len(reference), len(x))
    first, second = (np.fft.rfft(envelope(y[: size // 2]), size) for y in (reference, x))
    lag = int(np.fft.irfft(first.conj() * second).argmax())
    return (lag if lag <= size // 2 else lag - size) / RATE * 1000


@pytest.mark.parametrize("name", worse_files.SOUNDS)
def test_sounds_stay_in_time(name: str, source: worse_files.Source) -> None:
    worse = worse_files.SOUNDS[name](source.sound, source, np.random.default_rng(0))
    assert worse.shape == source.sound.shape and worse.dtype == np.float32 and np.abs(worse).max() <= 1
    assert abs(delay_ms(source.sound, worse)) < 12
    assert name == "clean" or np.mean((worse - source.sound) ** 2) > 1e-3 * np.mean(source.sound**2)


def test_added_sounds_stand_at_their_level(source: worse_files.Source) -> None:
    x = 0.05 * source.sound / np.abs(source.sound).max()  # so quiet that nothing is turned down
    for db in (20, 0):
        added = worse_sound.with_other(x, worse_sound.pink(len(x), np.random.default_rng(0)), db) - x
        assert 20 * np.log10(worse_sound.voice_level(x) / np.sqrt(np.mean(added**2))) == pytest.approx(db, abs=0.1)


def test_another_throat_moves_the_pitch_and_not_the_time() -> None:
    t = np.arange(2 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 400 * t)).astype(np.float32)
    for factor in (0.85, 1.35):
        power = np.abs(np.fft.rfft(worse_sound.other_throat(tone, factor)))
        assert power.argmax() / 2 == pytest.approx(400 * factor, abs=5)


@pytest.mark.parametrize("name", ["clean", "AAC 16 kbit/s", "300-3400 Hz, mu-law", "speed 1.1", "crf 40"])
def test_files_hold_the_shift_that_was_asked_for(name: str, source: worse_files.Source, tmp_path: Path) -> None:
    (variant,) = (v for v in worse_files.variants() if v.name == name)
    path = worse_files.make_file(source, variant, 5, 0, tmp_path)
    heard, frames = read_audio(path), [frame.image for _, frame in iter_ticks(path)]
    expected = source.sound if variant.speed == 1 else worse_sound.faster(source.sound, variant.speed)
    assert delay_ms(expected, heard) == pytest.approx(-5 * 40, abs=12)  # positive: the sound is early
    assert abs(len(frames) - len(source.frames) / variant.speed) <= 1
    away = np.abs(frames[20].astype(int) - source.frames[round(20 * variant.speed)]).mean()
    assert away < 12
    made = path.stat().st_mtime_ns
    assert worse_files.make_file(source, variant, 5, 0, tmp_path).stat().st_mtime_ns == made
