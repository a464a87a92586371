"""write_aligned: the audio moves by the lag, the video's packets stay what they are."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import click_times, clicks, write_clip

from synclip_core.errors import SyncLipError
from synclip_core.media.audio import read_audio, read_audio_native
from synclip_core.media.info import probe
from synclip_core.sync.align import write_aligned

TIMES = [0.9, 1.5, 2.2]
FORMATS = [
    ("mp4", "libx264", "aac", 44_100, "stereo"),
    ("mp4", "libx264", "libopus", 48_000, "mono"),
    ("mov", "libx264", "pcm_s16le", 48_000, "stereo"),
    ("mov", "libx264", "aac", 48_000, "5.1"),
    ("mkv", "libx264", "aac", 44_100, "mono"),
    ("mkv", "libx264", "libmp3lame", 48_000, "stereo"),
    ("mkv", "libx264", "flac", 44_100, "stereo"),
    ("webm", "libvpx", "libopus", 48_000, "stereo"),
]
CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


def video_packets(path: Path) -> list[tuple[bytes, Fraction]]:
    """(bytes, show time since the first packet's) of each video packet, in decoding order."""
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(file.streams.video[0]) if p.size]
        base, first = packets[0].time_base, packets[0].pts
        return [(bytes(p), (p.pts - first) * base) for p in packets]


@pytest.mark.parametrize("lag", [7, -7, 0, 2.5])
@pytest.mark.parametrize("audio", ["encode", "copy"])
@pytest.mark.parametrize(("suffix", "codec", "sound", "rate", "layout"), FORMATS, ids=str)
def test_audio_moves_and_video_does_not(tmp_path, suffix, codec, sound, rate, layout, audio, lag):
    source = write_clip(
        tmp_path / f"in.{suffix}",
        frames=75,
        video_codec=codec,
        audio=[clicks(TIMES, 3, rate, CHANNELS[layout])],
        rate=rate,
        layout=layout,
        audio_codec=sound,
    )
    target = tmp_path / f"out.{suffix}"
    report = write_aligned(source, target, lag, audio=audio)
    assert report.delay_s == pytest.approx(lag * 0.04) and report.notes == []
    assert video_packets(target) == video_packets(source)
    before, after = probe(source), probe(target)
    assert after.duration_s == before.duration_s and after.frames == before.frames
    assert (after.audio_rate, after.audio_channels, after.audio_codec) == (rate, CHANNELS[layout], before.audio_codec)
    expected = np.array(TIMES) + lag * 0.04  # positive lag: the audio was early, it now comes later
    assert np.abs(click_times(read_audio(target), 16_000, expected) - expected).max() < 0.001


def test_a_baked_repair_survives_readers_that_ignore_start_times(tmp_path):
    source = write_clip(tmp_path / "in.mkv", frames=75, audio=[clicks(TIMES, 3, 48_000)], audio_codec="flac")
    write_aligned(source, tmp_path / "out.mkv", 5)
    with av.open(str(tmp_path / "out.mkv")) as file:
        samples = np.concatenate([f.to_ndarray().reshape(-1) for f in file.decode(audio=0)]).astype(np.float32) / 2**15
    found = click_times(samples / np.abs(samples).max(), 48_000, np.array(TIMES) + 0.2)
    assert np.abs(found - TIMES - 0.2).max() < 0.001
    assert samples.size == 3.2 * 48_000  # nothing is cut: sound that was moved to later goes on longer


def test_lossless_audio_is_moved_exactly(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3 * 48_000)).astype(np.float32)
    source = write_clip(
        tmp_path / "in.mov",
        frames=75,
        audio=[sound],
        layout="stereo",
        audio_codec="pcm_s16le",
        video_start=2,
        audio_start=2,
    )
    before = read_audio_native(source).samples
    for lag in (4, -4):
        target = tmp_path / f"out{lag}.mov"
        write_aligned(source, target, lag)
        after = read_audio_native(target).samples
        move = lag * 1920
        assert after.shape == before.shape
        if lag > 0:
            np.testing.assert_array_equal(after[:, move:], before[:, :-move])
            assert np.abs(after[:, :move]).max() == 0
        else:
            np.testing.assert_array_equal(after[:, :96_000], before[:, -move : 96_000 - move])


def test_rotation_metadata_subtitles_and_tracks_are_kept(tmp_path):
    plain = write_clip(
        tmp_path / "plain.mp4", frames=75, rotation=90, audio=[clicks(TIMES, 3, 48_000), clicks([1.0], 3, 48_000)]
    )
    source = tmp_path / "in.mkv"
    with av.open(str(plain)) as file, av.open(str(source), "w") as out:  # the same with subtitles and a title
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in file.streams}
        words = out.add_mux_stream("subrip")
        words.metadata["language"] = "deu"
        streams[2].metadata["language"] = "fra"
        out.metadata["title"] = "Ein Titel"
        line = av.Packet(b"Hallo")
        line.pts = line.dts = 500
        line.duration, line.time_base, line.stream = 900, Fraction(1, 1000), words
        out.start_encoding()
        out.mux(line)
        for packet in file.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    target = tmp_path / "out.mkv"
    report = write_aligned(source, target, 6)
    assert report.notes == []
    info = probe(target)
    assert info.audio_tracks == 2
    for track, times in enumerate((TIMES, [1.0])):
        expected = np.array(times) + 0.24
        assert np.abs(click_times(read_audio(target, track=track), 16_000, expected) - expected).max() < 0.0015
    with av.open(str(target)) as file:
        assert file.metadata["title"] == "Ein Titel"
        assert [s.type for s in file.streams] == ["video", "audio", "audio", "subtitle"]
        assert file.streams[2].metadata["language"] == "fra"
        lines = [bytes(p) for p in file.demux(file.streams.subtitles[0]) if p.size]
        assert lines == [b"Hallo"]
    turned = tmp_path / "turned.mp4"
    write_aligned(plain, turned, 6)
    assert probe(turned).rotation == 90
    mixed = write_aligned(source, tmp_path / "out.mp4", 6)  # MP4 does not take SubRip
    assert len(mixed.notes) == 1 and "subtitle" in mixed.notes[0]
    assert video_packets(tmp_path / "out.mp4") == video_packets(source)


def test_late_video_start_stays(tmp_path):
    source = write_clip(tmp_path / "in.mp4", frames=75, audio=[clicks(TIMES, 3, 48_000)], video_start=Fraction(8, 25))
    write_aligned(source, tmp_path / "out.mp4", 3)
    expected = np.array(TIMES) - 0.32 + 0.12
    assert np.abs(click_times(read_audio(tmp_path / "out.mp4"), 16_000, expected) - expected).max() < 0.001
    assert video_packets(tmp_path / "out.mp4") == video_packets(source)


def test_refusals_leave_nothing(tmp_path):
    source = write_clip(tmp_path / "in.mp4", frames=50, audio=[clicks([0.5], 2, 48_000)])
    silent = write_clip(tmp_path / "silent.mp4", frames=50)
    before = sorted(os.listdir(tmp_path))
    for arguments, says in [
        ((source, source, 3), "input itself"),
        ((source, tmp_path / "out.mp4", 60), "does not fit"),
        ((source, tmp_path / "out.mp4", float("nan")), "lag_frames"),
        ((silent, tmp_path / "out.mp4", 3), "no audio"),
        ((source, tmp_path / "none" / "out.mp4", 3), "does not exist"),
        ((source, tmp_path / "out.webm", 3), "webm"),
        ((source, tmp_path / "out.xyz", 3), "xyz"),
        ((tmp_path / "none.mp4", tmp_path / "out.mp4", 3), "no such file"),
    ]:
        with pytest.raises(SyncLipError, match=says):
            write_aligned(*arguments)
        assert sorted(os.listdir(tmp_path)) == before, says


def test_interrupt_leaves_nothing(tmp_path, monkeypatch):
    source = write_clip(tmp_path / "in.mp4", frames=50, audio=[clicks([0.5], 2, 48_000)])

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("synclip_core.sync.align.AudioEncoder.encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_aligned(source, tmp_path / "out.mp4", 3)
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_full_disk(tmp_path):
    resource = pytest.importorskip("resource")
    source = write_clip(tmp_path / "in.mp4", frames=75, size=(320, 240), audio=[clicks(TIMES, 3, 48_000)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (source.stat().st_size // 2, before[1]))
    try:
        with pytest.raises(SyncLipError, match="disk is full"):
            write_aligned(source, tmp_path / "out.mp4", 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_real_clips_keep_their_packets(data_dir, tmp_path):
    for path in [*sorted((data_dir / "talk").glob("*.mp4"))[:6], *sorted((data_dir / "grid_s1").glob("*.mp4"))[:2]]:
        target = tmp_path / path.name
        write_aligned(path, target, 7)
        assert video_packets(target) == video_packets(path), path.name
        before, after = read_audio(path), read_audio(target)
        assert after.size == before.size
        moved, kept = after[7 * 640 :], before[: -7 * 640]
        assert np.corrcoef(moved, kept)[0, 1] > 0.97, path.name  # re-encoded speech at the new place
