"""probe: what is in a file, seen through rotation, cover art, alpha, depth and broken claims."""

from fractions import Fraction

import av
import numpy as np
import pytest
from media_clips import clicks, number_image, write_clip

from synclip_core.errors import SyncLipError
from synclip_core.media.info import probe, standard_rate


def test_plain_clip(tmp_path):
    sound = clicks([0.5], 2, 44_100, 2)
    path = write_clip(
        tmp_path / "a ö clip.mp4",
        frames=60,
        fps=Fraction(30000, 1001),
        audio=[sound, sound],
        rate=44_100,
        layout="stereo",
    )
    info = probe(path)
    assert (info.width, info.height, info.rotation, info.mirrored) == (64, 48, 0, False)
    assert info.frame_rate == Fraction(30000, 1001)
    assert info.duration_s == pytest.approx(60 * 1001 / 30000, abs=1e-6)
    assert (info.has_video, info.has_audio, info.audio_tracks) == (True, True, 2)
    assert (info.audio_rate, info.audio_channels, info.video_codec, info.audio_codec) == (44_100, 2, "h264", "aac")
    assert info.frames == 60


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_clockwise_and_swaps_sides(tmp_path, rotation):
    info = probe(write_clip(tmp_path / "r.mp4", frames=5, rotation=rotation))
    assert info.rotation == rotation
    assert (info.width, info.height) == ((48, 64) if rotation % 180 else (64, 48))


def test_audio_only_and_video_only(tmp_path):
    quiet = probe(write_clip(tmp_path / "v.mp4", frames=5))
    assert quiet.has_video and not quiet.has_audio and quiet.audio_rate == 0
    voice = probe(write_clip(tmp_path / "a.m4a", video_codec=None, audio=[clicks([0.5], 1, 48_000)]))
    assert voice.has_audio and not voice.has_video
    assert voice.duration_s == pytest.approx(1, abs=0.05)


def test_cover_art_is_not_the_video(tmp_path):
    """A song with a cover has no video; a film with a cover shows the film."""
    for name, film in (("song.m4a", False), ("film.mp4", True)):
        path = tmp_path / name
        with av.open(str(path), "w", format="mp4") as out:
            cover = out.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 320, 320, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic.value
            video = out.add_stream("libx264", rate=25) if film else None
            if video is not None:
                video.width, video.height = 64, 48
            sound = out.add_stream("aac", rate=48_000)
            sound.layout = "mono"
            out.start_encoding()
            for packet in cover.encode(av.VideoFrame.from_ndarray(np.zeros((320, 320, 3), np.uint8), format="rgb24")):
                out.mux(packet)
            if video is not None:
                for i in range(10):
                    out.mux(video.encode(av.VideoFrame.from_ndarray(number_image(i), format="rgb24")))
                out.mux(video.encode(None))
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 19_200), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48_000
            out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        with av.open(str(path)) as made:  # or the test proves nothing
            assert any(s.disposition & av.stream.Disposition.attached_pic for s in made.streams.video)
        info = probe(path)
        assert info.has_video is film
        if film:
            assert (info.width, info.height, info.frames) == (64, 48, 10)


def test_ten_bit_alpha_and_gif(tmp_path):
    deep = probe(write_clip(tmp_path / "deep.mkv", frames=5, video_codec="ffv1", pix_fmt="yuv420p10le"))
    assert (deep.bit_depth, deep.alpha) == (10, False)
    clear = probe(write_clip(tmp_path / "alpha.mkv", frames=5, video_codec="ffv1", pix_fmt="bgra"))
    assert clear.alpha
    gif = probe(write_clip(tmp_path / "moving.gif", frames=10, fps=10, video_codec="gif", pix_fmt="rgb8"))
    assert gif.duration_s == pytest.approx(1.0, abs=0.011)
    assert gif.frames == 10


def test_wide_pixels_become_square(tmp_path):
    path = tmp_path / "sar.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        video.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for i in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(number_image(i), format="rgb24")))
        out.mux(video.encode(None))
    info = probe(path)
    assert (info.width, info.height) == (96, 48)


def test_standard_rates_survive_rounded_stamps():
    assert standard_rate(29.9697) == Fraction(30000, 1001)
    assert standard_rate(30.0001) == 30
    assert standard_rate(23.9759) == Fraction(24000, 1001)
    assert standard_rate(Fraction(50, 3)) == Fraction(50, 3)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.mp4", b"", "empty"),
        ("text.mp4", b"this is not a film\n" * 50, "not a readable media file"),
        ("zeros.mkv", bytes(5000), "not a readable media file"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SyncLipError, match=says) as caught:
        probe(path)
    assert name in str(caught.value)


def test_missing_file_folder_and_foreign_protocol(tmp_path):
    with pytest.raises(SyncLipError, match="no such file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(SyncLipError, match="folder"):
        probe(tmp_path)
    with pytest.raises(SyncLipError, match="no such file"):
        probe("http://127.0.0.1:9/film.mp4")


def test_playlist_cannot_reach_the_network(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SyncLipError):
        probe(path)


def test_name_with_a_colon(tmp_path):
    path = write_clip(tmp_path / "plain.mp4", frames=5).rename(tmp_path / "concat:odd.mp4")
    assert probe(path).frames == 5


def test_pixel_bomb_is_refused(tmp_path):
    """A header may claim any size; nothing of that size is allocated."""
    path = tmp_path / "bomb.png"
    write_clip(path, frames=1, video_codec="png", pix_fmt="rgb24", container_format="image2", muxer={"update": "1"})
    data = bytearray(path.read_bytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(SyncLipError):
        probe(path)
