"""Frames and ticks: the map from ticks to source frames is exact, whatever the time stamps do."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import click_times, clicks, number_image, read_number, write_clip
from PIL import Image

from synclip_core.clock import Times, tick_count
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.media import picture
from synclip_core.media.audio import read_audio
from synclip_core.media.info import probe
from synclip_core.media.picture import PicturePart
from synclip_core.media.span import video_span
from synclip_core.media.video import TickReader, iter_frames, iter_ticks


def nearest(times: list[Fraction], tick: int) -> int:
    """The contract in words: nearest in time to tick / 25, the earlier of two."""
    return min(range(len(times)), key=lambda i: (abs(times[i] - Fraction(tick, 25)), i))


RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, 60, 15, 12, Fraction(100)]


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_constant_rate_map(tmp_path, fps, suffix):
    count = round(Fraction(fps) * 2)
    path = write_clip(tmp_path / f"a.{suffix}", frames=count, fps=fps)
    exact = [Fraction(i) / Fraction(fps) for i in range(count)]
    if suffix == "mkv":  # stamps in whole milliseconds
        exact = [Fraction(int(t * 1000 + Fraction(1, 2)), 1000) for t in exact]
    reader = iter_ticks(path)
    shown = [(tick, frame.index, read_number(frame.image)) for tick, frame in reader]
    expected = [nearest(exact, k) for k in range(tick_count(Fraction(count) / Fraction(fps)))]
    assert [s[0] for s in shown] == list(range(len(expected)))
    assert [s[1] for s in shown] == expected
    assert [s[2] for s in shown] == expected  # the pixels agree with the claimed index
    assert reader.map.frames.tolist() == expected
    np.testing.assert_allclose(reader.map.times, [float(t) for t in exact], atol=0.00051)
    assert reader.expected == len(expected) and not reader.warnings


def test_variable_rate_map(tmp_path):
    generator = np.random.default_rng(3)
    stamps = [0, *np.cumsum(generator.choice([8, 17, 33, 40, 80, 250], 70)).tolist()]
    path = write_clip(tmp_path / "vfr.mkv", frames=len(stamps), pts=stamps, time_base=Fraction(1, 1000))
    times = [Fraction(s, 1000) for s in stamps]
    reader = iter_ticks(path)
    got = [frame.index for _, frame in reader]
    assert got == [nearest(times, k) for k in range(len(got))]
    assert len(got) == probe_ticks(path)
    assert len(got) >= tick_count(times[-1])


def probe_ticks(path) -> int:
    return max(1, round(probe(path).duration_s * 25))


def test_ties_go_to_the_earlier_frame(tmp_path):
    path = write_clip(tmp_path / "tie.mkv", frames=4, pts=[0, 20, 60, 100], time_base=Fraction(1, 1000))
    assert [f.index for _, f in iter_ticks(path)][:3] == [
        0,
        1,
        2,
    ]  # 40 ms lies between 20 and 60, 80 between 60 and 100


def test_nearest_tick_of_each_frame(tmp_path):
    reader = iter_ticks(write_clip(tmp_path / "a.mp4", frames=60, fps=60))
    list(reader)
    np.testing.assert_array_equal(reader.map.ticks, [min(24, int(np.ceil(i * 25 / 60 - 0.5))) for i in range(60)])


def test_only_shown_frames_are_converted(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "fast.mp4", frames=120, fps=60)
    converted = []
    convert = picture.PictureReader.__call__
    monkeypatch.setattr(picture.PictureReader, "__call__", lambda self, f: converted.append(f.pts) or convert(self, f))
    assert len(list(iter_ticks(path))) == 50
    assert len(converted) == 50


def test_repeated_frames_are_the_same_object(tmp_path):
    frames = [f for _, f in iter_ticks(write_clip(tmp_path / "slow.mp4", frames=10, fps=5))]
    assert len(frames) == 50 and len({id(f) for f in frames}) == 10


@pytest.mark.parametrize(("rotation", "hflip"), [(0, True), (90, False), (180, False), (270, False), (90, True)])
def test_display_orientation(tmp_path, rotation, hflip):
    path = write_clip(tmp_path / "r.mp4", frames=3, rotation=rotation, hflip=hflip, options={"crf": "1"})
    image = next(iter_frames(path)).image
    # FFmpeg turns first and mirrors the turned picture.
    expected = np.rot90(number_image(0), -rotation // 90)
    expected = expected[:, ::-1] if hflip else expected
    assert image.shape == expected.shape and image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).mean() < 6
    assert probe(path).mirrored is hflip


def test_later_start_is_time_zero(tmp_path):
    reader = iter_ticks(write_clip(tmp_path / "late.mp4", frames=25, video_start=2))
    assert [f.index for _, f in reader] == list(range(25))
    assert reader.map.times[0] == 0


@pytest.mark.parametrize("size", [(63, 47), (17, 131), (16, 2)])
def test_odd_sizes(tmp_path, size):
    path = write_clip(tmp_path / "odd.mkv", frames=3, size=size, video_codec="ffv1", pix_fmt="yuv444p")
    frames = list(iter_frames(path))
    assert [f.image.shape for f in frames] == [(size[1], size[0], 3)] * 3


def test_max_side_reduces(tmp_path):
    path = write_clip(tmp_path / "big.mp4", frames=4, size=(640, 360), rotation=90)
    frames = [f.image for f in iter_frames(path, max_side=160)]
    assert {f.shape for f in frames} == {(160, 90, 3)}
    assert [read_number(np.rot90(f)) for f in frames] == [0, 1, 2, 3]


def test_one_frame_and_a_fifth_of_a_second(tmp_path):
    assert [(k, f.index) for k, f in iter_ticks(write_clip(tmp_path / "one.mp4", frames=1))] == [(0, 0)]
    assert [f.index for _, f in iter_ticks(write_clip(tmp_path / "short.mp4", frames=5))] == [0, 1, 2, 3, 4]
    assert len(list(iter_ticks(write_clip(tmp_path / "tiny.mp4", frames=1, fps=120)))) == 1


def test_still_image_is_one_tick(tmp_path):
    path = write_clip(
        tmp_path / "a.png",
        frames=1,
        video_codec="png",
        pix_fmt="rgb24",
        container_format="image2",
        muxer={"update": "1"},
    )
    assert len(list(iter_ticks(path))) == 1


def test_animated_gif(tmp_path):
    path = write_clip(tmp_path / "a.gif", frames=20, fps=10, video_codec="gif", pix_fmt="rgb8")
    shown = [(f.index, read_number(f.image)) for _, f in iter_ticks(path)]
    assert [s[0] for s in shown] == [nearest([Fraction(i, 10) for i in range(20)], k) for k in range(50)]
    assert all(index == number for index, number in shown)


def test_ten_bit_decodes_to_the_same_picture(tmp_path):
    path = write_clip(tmp_path / "deep.mkv", frames=6, video_codec="ffv1", pix_fmt="yuv444p10le")
    images = [f.image for f in iter_frames(path)]
    assert np.abs(images[5].astype(int) - number_image(5)).max() <= 3


def test_transparency_shows_black(tmp_path):
    path = tmp_path / "alpha.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "bgra"
        pixels = np.full((48, 64, 4), 200, np.uint8)
        pixels[:, :32, 3], pixels[:, 32:, 3] = 0, 255
        out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="bgra")))
        out.mux(video.encode(None))
    image = next(iter_frames(path)).image
    assert (image[:, :32] == 0).all() and (image[:, 32:] == 200).all()


def test_8k_frames_pass(tmp_path):
    path = write_clip(
        tmp_path / "8k.mp4", frames=3, size=(7680, 4320), video_codec="mpeg4", options={"qmin": "31", "qmax": "31"}
    )
    numbers = [read_number(f.image) for f in iter_frames(path, max_side=960)]
    assert numbers == [0, 1, 2]
    assert probe(path).width == 7680


def test_a_stream_that_changes_size_keeps_the_first(tmp_path):
    path = tmp_path / "two.ts"
    parts = []
    for i, size in enumerate([(64, 48), (128, 96)]):
        start = Fraction(i * 10, 25)
        parts.append(write_clip(tmp_path / f"{i}.ts", frames=10, size=size, video_start=start).read_bytes())
    path.write_bytes(b"".join(parts))
    frames = list(iter_frames(path))
    assert len(frames) == 20 and {f.image.shape for f in frames} == {(48, 64, 3)}
    assert [read_number(f.image) for f in frames] == [*range(10), *range(10)]


def test_restarted_clock_continues(tmp_path):
    """Two recordings joined byte by byte: stamps start again, the pictures go on."""
    part = write_clip(tmp_path / "p.ts", frames=75).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(part + part)
    reader = iter_ticks(path)
    got = [f.index for _, f in reader]
    assert got == list(range(150))
    assert video_span(path).ticks == 150


def test_truncated_file_yields_what_decodes(tmp_path):
    data = write_clip(tmp_path / "whole.mkv", frames=100, size=(160, 120)).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) * 6 // 10])
    reader = iter_ticks(path)
    got = [(f.index, read_number(f.image)) for _, f in reader]
    # At the cut a picture may lack the pictures that were stored after it.
    assert 30 < len(got) < 90 and all(i == n for i, n in got[:-4])


def test_truncated_mp4_with_its_index_in_front_warns(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", frames=100, size=(160, 120), muxer={"movflags": "faststart"})
    path = tmp_path / "cut.mp4"
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    got = [read_number(f.image) for _, f in iter_ticks(path)]
    assert 30 < len(got) < 90
    assert got[:30] == list(range(30))


def test_damaged_packets_are_skipped_and_counted(tmp_path):
    path = write_clip(tmp_path / "a.mkv", frames=60, video_codec="ffv1", size=(64, 48))
    data = bytearray(path.read_bytes())
    begin = len(data) // 2
    data[begin : begin + 40] = bytes(40)
    path.write_bytes(data)
    reader = iter_frames(path)
    numbers = [read_number(f.image) for f in reader]
    assert len(numbers) >= 55 and numbers[0] == 0 and numbers[-1] == 59


def test_nothing_decodes_is_one_clear_error(tmp_path):
    path = write_clip(tmp_path / "a.mov", frames=20, video_codec="png", pix_fmt="rgb24")
    data = path.read_bytes().replace(b"\x89PNG\r\n\x1a\n", b"\x00" * 8)
    path.write_bytes(data)
    with pytest.raises(SyncLipError, match="no picture of its video could be decoded"):
        iter_ticks(path)


def test_no_video_track(tmp_path):
    path = write_clip(tmp_path / "a.m4a", video_codec=None, audio=[np.zeros((1, 48_000), np.float32)])
    with pytest.raises(SyncLipError, match="no video track"):
        iter_frames(path)


def test_closing_early_releases_the_file(tmp_path):
    path = write_clip(tmp_path / "a.mp4", frames=50)
    reader = iter_ticks(path)
    next(reader)
    reader.close()
    assert next(reader, None) is None


def test_a_long_video_is_not_taken_for_a_jump_of_the_clock(tmp_path):
    path = write_clip(tmp_path / "long.mp4", frames=720, fps=2, audio=[clicks([359.0], 360, 8000)], rate=8000)
    reader = iter_ticks(path)
    assert sum(1 for _ in reader) == reader.expected == 9000
    assert click_times(read_audio(path), 16_000, [359.0])[0] == pytest.approx(359.0, abs=0.001)


def test_times_never_run_backwards():
    second = Fraction(1)
    times = Times(Fraction(5), second / 25)
    stamps = [5, Fraction(126, 25), None, Fraction(127, 25), 400, 2, Fraction(51, 25)]
    got = [times.place(None if s is None else Fraction(s)) for s in stamps]
    # missing: + 1/25; slightly back: clamped; far ahead and far back: both continue at the nominal rate
    assert got == [Fraction(n, 25) for n in (0, 1, 2, 2, 3, 4, 5)]
    assert got == sorted(got)


def test_real_clips_map_frame_by_frame(data_dir):
    for path in sorted((data_dir / "grid_s1").glob("*.mp4"))[:3]:
        reader = iter_ticks(path)
        indices = [f.index for _, f in reader]
        assert indices == list(range(reader.expected)) and not reader.warnings


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (322, 242)])
def test_parts_of_a_picture_are_those_of_the_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    """Bit for bit, whatever is asked for first, beyond the borders too."""
    path, rng = tmp_path / "noise.mp4", np.random.default_rng(0)
    small = rng.integers(0, 255, (3, 30, 40, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for picture in small:
            whole = np.asarray(Image.fromarray(picture).resize(size))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        out.mux(stream.encode(None))
    width, height = size
    pairs = list(zip(TickReader(path), TickReader(path, parts=True), strict=True))
    assert len(pairs) == 3
    for (_, whole_frame), (_, frame) in pairs:
        whole, part = whole_frame.image, frame.image
        assert isinstance(part, PicturePart) and part.shape == whole.shape and part.nbytes == whole.nbytes
        rows, columns = np.linspace(0, height - 1, 32).astype(int), np.linspace(0, width - 1, 32).astype(int)
        np.testing.assert_array_equal(part[rows[:, None], columns[None]], whole[rows[:, None], columns[None]])
        for _ in range(6):
            top, left = int(rng.integers(0, height - 40)), int(rng.integers(0, width - 40))
            place = slice(top, top + int(rng.integers(1, 200))), slice(left, left + int(rng.integers(1, 200)))
            np.testing.assert_array_equal(part[place], whole[place])
        for place in ((slice(0, -5), slice(3, 9)), (slice(50, 20), slice(0, 9)), (slice(0, 9), slice(width - 3, None))):
            np.testing.assert_array_equal(part[place], whole[place])
        np.testing.assert_array_equal(np.asarray(part), whole)


def test_pictures_that_are_turned_or_scaled_are_read_whole() -> None:
    assert isinstance(next(iter(TickReader(CLIP, max_side=100, parts=True)))[1].image, np.ndarray)
