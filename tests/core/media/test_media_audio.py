"""Audio on the video's clock: clicks at known times stay where they are."""

from fractions import Fraction

import numpy as np
import pytest
from media_clips import click_times, clicks, write_clip

from synclip_core.errors import SyncLipError
from synclip_core.media.audio import iter_audio, read_audio, read_audio_native
from synclip_core.media.downmix import mono_weights
from synclip_core.media.sound import _Placement
from synclip_core.media.video import iter_ticks

MINUTE = [0.5 + i for i in range(59)]
CASES = [
    ("mp4", "aac", 44_100, "stereo"),
    ("mp4", "aac", 48_000, "5.1"),
    ("mp4", "libopus", 48_000, "mono"),
    ("mp4", "libmp3lame", 44_100, "mono"),
    ("mkv", "aac", 44_100, "mono"),
    ("mkv", "libopus", 48_000, "5.1"),
    ("mkv", "libmp3lame", 48_000, "stereo"),
    ("mkv", "flac", 44_100, "5.1"),
    ("webm", "libopus", 48_000, "stereo"),
    ("mov", "pcm_s16le", 44_100, "stereo"),
    ("mov", "aac", 48_000, "mono"),
    ("ts", "aac", 48_000, "stereo"),
]
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


@pytest.mark.parametrize(("suffix", "codec", "rate", "layout"), CASES, ids=lambda v: str(v))
def test_a_minute_stays_within_a_millisecond(tmp_path, suffix, codec, rate, layout):
    sound = clicks(MINUTE, 60, rate, CHANNELS[layout])
    # Few frames: the audio is what is tested.
    path = write_clip(
        tmp_path / f"minute.{suffix}",
        frames=120,
        fps=2,
        audio=[sound],
        rate=rate,
        layout=layout,
        audio_codec=codec,
        video_codec="libvpx" if suffix == "webm" else "libx264",
    )
    samples = read_audio(path)
    assert samples.dtype == np.float32 and samples.size == 60 * 16_000
    error = click_times(samples, 16_000, MINUTE) - MINUTE
    assert np.abs(error).max() < 0.001


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts"])
@pytest.mark.parametrize(
    ("video_start", "audio_start"), [(0, Fraction(3, 10)), (Fraction(2, 5), 0), (1, Fraction(8, 5))]
)
def test_tracks_that_start_apart(tmp_path, suffix, video_start, audio_start):
    path = write_clip(
        tmp_path / f"a.{suffix}",
        frames=75,
        audio=[clicks([0.6, 1.1, 1.6], 3, 48_000)],
        video_start=video_start,
        audio_start=audio_start,
    )
    expected = np.array([0.6, 1.1, 1.6]) + float(audio_start - video_start)
    samples = read_audio(path)
    assert samples.size == 75 * 640
    assert np.abs(click_times(samples, 16_000, expected) - expected).max() < 0.001
    if audio_start > video_start:
        quiet = int(float(audio_start - video_start) * 16_000) - 400
        assert np.abs(samples[:quiet]).max() < 1e-3


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), 25, 30, 50, 60])
def test_audio_is_exactly_as_long_as_the_ticks(tmp_path, fps):
    for frames in (1, 7, 50):
        path = write_clip(
            tmp_path / f"{frames}.mp4", frames=frames, fps=fps, audio=[clicks([0.1], 3, 44_100)], rate=44_100
        )
        assert read_audio(path).size == 640 * len(list(iter_ticks(path)))
    short = write_clip(tmp_path / "short.mp4", frames=50, fps=fps, audio=[clicks([0.1], 0.3, 48_000)])
    samples = read_audio(short)
    assert samples.size == 640 * len(list(iter_ticks(short)))
    assert np.abs(samples[8000:]).max() == 0
    assert read_audio(short, duration_s=0.2).size == 5 * 640


def test_blocks_join_to_the_whole(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=80, audio=[clicks([0.5, 2.0], 3.2, 44_100)], rate=44_100)
    whole = read_audio(path)
    for block_s in (0.1, 0.37, 1.0, 100.0):
        blocks = list(iter_audio(path, block_s=block_s))
        np.testing.assert_array_equal(np.concatenate(blocks), whole)
        assert all(b.size == round(block_s * 16_000) for b in blocks[:-1])


def test_a_tone_is_resampled_without_delay_or_loss(tmp_path):
    clock = np.arange(2 * 44_100) / 44_100
    tone = (0.5 * np.sin(2 * np.pi * 440 * clock)).astype(np.float32)[None]
    path = write_clip(tmp_path / "a.mov", frames=50, audio=[tone], rate=44_100, audio_codec="pcm_s16le")
    samples = read_audio(path)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples.size) / 16_000)
    assert np.abs(samples - expected)[200:-200].max() < 2e-3


def test_tracks_are_chosen_by_number(tmp_path):
    tracks = [clicks([0.5], 2, 48_000), clicks([1.5], 2, 48_000)]
    path = write_clip(tmp_path / "a.mp4", frames=50, audio=tracks)
    for number, time in enumerate([0.5, 1.5]):
        assert click_times(read_audio(path, track=number), 16_000, [time])[0] == pytest.approx(time, abs=0.001)
    with pytest.raises(SyncLipError, match="audio track 2"):
        read_audio(path, track=2)


def test_silence_is_not_missing_audio(tmp_path):
    silent = write_clip(tmp_path / "silent.mp4", frames=25, audio=[np.zeros((1, 48_000), np.float32)])
    assert np.abs(read_audio(silent)).max() == 0
    missing = write_clip(tmp_path / "missing.mp4", frames=25)
    with pytest.raises(SyncLipError, match="no audio track"):
        read_audio(missing)


def test_centre_channel_survives_the_downmix(tmp_path):
    """Film sound: speech in the centre, music left and right, thunder in the bass channel."""
    speech = clicks([1.0], 2, 48_000)[0]
    clock = np.arange(speech.size) / 48_000
    music = 0.3 * np.sin(2 * np.pi * 300 * clock).astype(np.float32)
    thunder = 0.9 * np.sin(2 * np.pi * 40 * clock).astype(np.float32)
    mix = np.stack([music, music, speech, thunder, music, music])
    path = write_clip(tmp_path / "a.mkv", frames=50, audio=[mix], layout="5.1", audio_codec="flac")
    samples = read_audio(path)
    alone = np.abs(samples[1600:12_000])  # before the click: music only
    assert np.abs(samples[15_900:16_100]).max() > 3 * alone.max() * 0.8
    spectrum = np.abs(np.fft.rfft(samples[:12_800]))
    assert spectrum[32] < 0.01 * spectrum[240]  # 40 Hz against 300 Hz: the bass channel is gone


def test_downmix_weights():
    assert mono_weights(("FL", "FR")).tolist() == [0.5, 0.5]
    assert mono_weights(("FL", "FR", "LFE")).tolist() == [0.5, 0.5, 0]
    weights = mono_weights(("FL", "FR", "FC", "LFE", "BL", "BR"))
    assert weights.sum() == pytest.approx(1) and weights[2] == weights.max() and weights[3] == 0


def test_audio_alone_sets_its_own_clock(tmp_path):
    path = write_clip(tmp_path / "a.m4a", video_codec=None, audio=[clicks([0.7], 2, 48_000)])
    samples = read_audio(path)
    assert samples.size % 640 == 0 and samples.size / 16_000 == pytest.approx(2, abs=0.05)
    assert click_times(samples, 16_000, [0.7])[0] == pytest.approx(0.7, abs=0.001)


def test_native_keeps_rate_and_channels(tmp_path):
    sound = clicks([0.5, 1.2], 2, 44_100, 6)
    sound[3:] = 0
    path = write_clip(tmp_path / "a.mkv", frames=50, audio=[sound], rate=44_100, layout="5.1", audio_codec="flac")
    native = read_audio_native(path)
    assert (native.rate, native.samples.shape) == (44_100, (6, 88_200)) and native.layout.startswith("5.1")
    assert np.abs(native.samples - sound).max() < 1e-3


def run(placement: _Placement, blocks: list[tuple[int, int | None]]) -> np.ndarray:
    """Blocks of ones, each (length, stamp in samples)."""
    return np.concatenate([p for n, at in blocks for p in placement(np.ones((1, n), np.float32), at)], axis=1)[0]


def test_gaps_become_silence_and_overlaps_are_trimmed():
    gap = run(_Placement(1000, 1), [(100, 0), (100, 300)])
    assert gap.tolist() == [1] * 100 + [0] * 200 + [1] * 100
    assert run(_Placement(1000, 1), [(100, 0), (100, 50)]).size == 150
    assert run(_Placement(1000, 1), [(100, -150), (100, -50), (100, 50)]).size == 150  # before t = 0
    assert run(_Placement(1000, 1), [(100, 30)]).tolist() == [0] * 30 + [1] * 100
    assert run(_Placement(1000, 1), [(100, 0), (100, None), (100, 200)]).size == 300


def test_broken_stamps_do_not_fill_the_memory():
    assert run(_Placement(1000, 1), [(100, 0), (100, 10**15), (100, 10**15 + 100)]).size == 300
    assert run(_Placement(1000, 1), [(100, 0), (2000, 100), (100, -(10**15))]).size == 2200


def test_a_drifting_clock_is_followed():
    """Stamps that run 0.1 % fast: after a minute the count alone would be 60 ms off."""
    rate, block = 48_000, 1024
    blocks = [(block, round(i * block * 1.001)) for i in range(60 * rate // block)]
    length = run(_Placement(rate, 1), blocks).size
    assert abs(length - blocks[-1][1] - block) < 0.001 * rate


def test_rounded_stamps_leave_samples_alone():
    rate, block = 44_100, 1024
    blocks = [(block, round(round(i * block / rate * 1000) / 1000 * rate)) for i in range(2000)]
    assert run(_Placement(rate, 1), blocks).size == 2000 * block


def test_lost_audio_packets_leave_a_gap_of_silence(tmp_path):
    """Damage in the middle of the audio does not move what follows."""
    times = [0.5 + i for i in range(9)]
    path = write_clip(
        tmp_path / "a.mkv",
        frames=20,
        fps=2,
        audio=[clicks(times, 10, 48_000)],
        audio_codec="libmp3lame",
        muxer={"cluster_time_limit": "500"},
    )
    data = bytearray(path.read_bytes())
    begin = int(len(data) * 0.55)
    data[begin : begin + 1500] = bytes(1500)
    path.write_bytes(data)
    found = click_times(read_audio(path), 16_000, times)
    late = ~np.isnan(found) & (np.array(times) > 7)
    assert late.any() and np.abs(found - times)[late].max() < 0.001


def test_bad_arguments_are_named(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=5, audio=[clicks([0.1], 0.2, 48_000)])
    with pytest.raises(SyncLipError, match="rate"):
        read_audio(path, rate=11_025 + 1)
    with pytest.raises(SyncLipError, match="duration_s"):
        read_audio(path, duration_s=-1)


def test_real_clips_have_audio_as_long_as_ticks(data_dir):
    for path in sorted((data_dir / "talk").glob("*.mp4"))[:12]:
        reader = iter_ticks(path, max_side=64)
        count = sum(1 for _ in reader)
        assert count == reader.expected, path.name
        samples = read_audio(path)
        assert samples.size == count * 640 and 0 < np.abs(samples).max() <= 1
