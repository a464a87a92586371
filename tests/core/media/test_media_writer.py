"""VideoWriter: exact times, the original's sound, whole files or none."""

import os
import stat
from fractions import Fraction

import numpy as np
import pytest
from media_clips import click_times, clicks, number_image, read_number, write_clip

from synclip_core.errors import SyncLipError
from synclip_core.media.audio import NativeAudio, read_audio, read_audio_native
from synclip_core.media.info import probe
from synclip_core.media.video import iter_frames
from synclip_core.media.writer import VideoWriter


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), 25, Fraction(30000, 1001), 60], ids=str)
def test_every_frame_at_its_time(tmp_path, suffix, fps):
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 64, 48, Fraction(fps), preset="ultrafast") as writer:
        for i in range(40):
            writer.write(number_image(i))
    frames = list(iter_frames(path))
    assert [read_number(f.image) for f in frames] == list(range(40))
    step = 0.00051 if suffix == ".mkv" else 1e-9  # Matroska stores milliseconds
    np.testing.assert_allclose([f.time_s for f in frames], [float(i / Fraction(fps)) for i in range(40)], atol=step)
    assert probe(path).frame_rate == fps
    assert probe(path).duration_s == pytest.approx(40 / float(fps), abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_variable_rate_is_kept(tmp_path, suffix):
    stamps = [0, *np.cumsum(np.random.default_rng(3).choice([8, 17, 33, 40, 80, 250], 60)).tolist()]
    source = write_clip(tmp_path / "vfr.mkv", frames=len(stamps), pts=stamps, time_base=Fraction(1, 1000))
    info = probe(source)
    assert info.variable and not probe(write_clip(tmp_path / "cfr.mkv", fps=Fraction(30000, 1001))).variable
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 64, 48, info.frame_rate, preset="ultrafast", variable=True) as writer:
        for frame in iter_frames(source):
            writer.write(frame.image, frame.time_s)
    frames = list(iter_frames(path))
    assert [read_number(f.image) for f in frames] == list(range(len(stamps)))
    np.testing.assert_allclose([f.time_s * 1000 for f in frames], stamps, atol=0.51 if suffix == ".mkv" else 0.01)


@pytest.mark.parametrize(
    ("rate", "layout", "channels"),
    [(44_100, "stereo", 2), (48_000, "5.1", 6), (22_050, "mono", 1), (96_000, "stereo", 2)],
)
def test_original_sound_keeps_rate_channels_and_place(tmp_path, rate, layout, channels):
    times = [0.4, 1.0, 1.7]
    source = write_clip(
        tmp_path / "source.mkv",
        frames=50,
        audio=[clicks(times, 2, rate, channels)],
        rate=rate,
        layout=layout,
        audio_codec="flac",
        video_start=Fraction(1, 5),
    )
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 64, 48, 25, audio_from=source, preset="ultrafast") as writer:
        assert writer.has_audio
        for i in range(50):
            writer.write(number_image(i))
    info = probe(path)
    assert (info.audio_rate, info.audio_channels, info.audio_codec) == (rate, channels, "aac")
    expected = np.array(times) - 0.2  # the source's video starts 0.2 s into the file
    assert np.abs(click_times(read_audio(path), 16_000, expected) - expected).max() < 0.001


def test_sound_never_outlasts_the_frames(tmp_path):
    source = write_clip(tmp_path / "source.mp4", frames=100, audio=[clicks([0.5], 4, 48_000)])
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 64, 48, 25, audio_from=source, preset="ultrafast") as writer:
        for i in range(25):
            writer.write(number_image(i))
    sound = read_audio_native(path, duration_s=4)
    last = np.flatnonzero(np.abs(sound.samples[0]) > 0)
    assert last.size and last[-1] < 1.03 * 48_000


def test_given_samples(tmp_path):
    path = tmp_path / "out.mp4"
    audio = NativeAudio(clicks([0.3], 1, 32_000, 2), 32_000, "stereo")
    with VideoWriter(path, 64, 48, 25, audio=audio, preset="ultrafast") as writer:
        for i in range(25):
            writer.write(number_image(i))
    assert probe(path).audio_rate == 32_000
    assert click_times(read_audio(path), 16_000, [0.3])[0] == pytest.approx(0.3, abs=0.001)


def test_source_without_sound(tmp_path):
    source = write_clip(tmp_path / "source.mp4", frames=5)
    with VideoWriter(tmp_path / "out.mp4", 64, 48, 25, audio_from=source) as writer:
        writer.write(number_image(0))
        assert not writer.has_audio
    assert not probe(tmp_path / "out.mp4").has_audio


@pytest.mark.parametrize(("odd", "size"), [("pad", (64, 48)), ("yuv444", (63, 47))])
def test_odd_sizes(tmp_path, odd, size):
    image = number_image(5, 63, 47)
    with VideoWriter(tmp_path / "out.mp4", 63, 47, 25, odd=odd, crf=1) as writer:
        writer.write(image)
    shown = next(iter_frames(tmp_path / "out.mp4")).image
    assert shown.shape[:2] == size[::-1]
    assert np.abs(shown[:47, :63].astype(int) - image).mean() < 6
    if odd == "pad":  # the last row is repeated, not black
        assert np.abs(shown[47].astype(int) - shown[46]).mean() < 8


def test_colours_come_back(tmp_path):
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:, :640], image[:, 640:] = (200, 40, 40), (40, 90, 210)
    with VideoWriter(tmp_path / "out.mp4", 1280, 720, 25, crf=4, preset="ultrafast") as writer:
        writer.write(image)
    shown = next(iter_frames(tmp_path / "out.mp4")).image
    assert np.abs(shown[100, 100].astype(int) - image[100, 100]).max() <= 4
    assert np.abs(shown[100, 1000].astype(int) - image[100, 1000]).max() <= 4


def listing(folder) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_behind(tmp_path, error):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older result")
    with pytest.raises(error):
        with VideoWriter(path, 64, 48, 25) as writer:
            for i in range(30):
                writer.write(number_image(i))
            raise error
    assert listing(tmp_path) == ["out.mp4"] and path.read_bytes() == b"older result"


def test_file_appears_only_when_finished_and_is_readable(tmp_path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 64, 48, 25) as writer:
        writer.write(number_image(0))
        assert not path.exists()
    assert listing(tmp_path) == ["out.mp4"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o400 and probe(path).frames == 1


def test_refusals_are_named(tmp_path):
    with pytest.raises(SyncLipError, match="does not exist"):
        VideoWriter(tmp_path / "none" / "out.mp4", 64, 48, 25)
    with pytest.raises(SyncLipError, match="expected one of"):
        VideoWriter(tmp_path / "out.xyz", 64, 48, 25)
    with pytest.raises(SyncLipError, match="fps"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, 0)
    with pytest.raises(SyncLipError, match="no such file"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, 25, audio_from=tmp_path / "none.wav")
    with pytest.raises(SyncLipError, match="no frame"):
        with VideoWriter(tmp_path / "out.mp4", 64, 48, 25):
            pass
    with pytest.raises(SyncLipError, match="frame 0 is uint8"):
        with VideoWriter(tmp_path / "out.mp4", 64, 48, 25) as writer:
            writer.write(np.zeros((64, 48, 3), np.uint8))
    assert listing(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SyncLipError, match="read-only"):
            VideoWriter(tmp_path / "out.mp4", 64, 48, 25)
    finally:
        tmp_path.chmod(0o700)


def test_read_only_folder_by_its_error(tmp_path, monkeypatch):
    """The same for root, who is never refused: the system's answer is simulated."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("synclip_core.files.atomic.tempfile.mkstemp", refuse)
    with pytest.raises(SyncLipError, match="read-only"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, 25)


def test_full_disk(tmp_path):
    """A file size limit stands in for a full disk: the system refuses to write on."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(SyncLipError, match="disk is full"):
            with VideoWriter(tmp_path / "out.mp4", 320, 240, 25, crf=1, preset="ultrafast") as writer:
                for _ in range(60):
                    writer.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert listing(tmp_path) == []
