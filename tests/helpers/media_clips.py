"""Small clips with known content, made with PyAV: every frame carries its number, every click has a known time."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

BITS = 10


def number_image(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 [H, W, 3]: `number` in ten vertical bars, white for a set bit, and a grey ramp below."""
    image = np.zeros((height, width, 3), np.uint8)
    edges = np.linspace(0, width, BITS + 1).round().astype(int)
    for bit in range(BITS):
        if number >> bit & 1:
            image[: height // 2, edges[bit] : edges[bit + 1]] = 255
    image[height // 2 :] = np.linspace(30, 220, width).astype(np.uint8)[None, :, None]
    return image


def read_number(image: np.ndarray) -> int:
    """The number in an upright `number_image`, any size."""
    height, width = image.shape[:2]
    edges = np.linspace(0, width, BITS + 1)
    value = 0
    for bit in range(BITS):
        middle = int((edges[bit] + edges[bit + 1]) / 2)
        if image[height // 8 : height // 4 + 1, middle].mean() > 128:
            value |= 1 << bit
    return value


def clicks(times: Sequence[float], duration_s: float, rate: int, channels: int = 1) -> np.ndarray:
    """float32 [C, N]: short tone bursts (1 ms raised cosine, centred on each time) that survive lossy codecs."""
    samples = np.zeros(round(duration_s * rate), np.float32)
    clock = np.arange(samples.size) / rate
    for time in times:
        near = slice(max(0, int((time - 0.01) * rate)), int((time + 0.01) * rate))
        t = clock[near] - time
        samples[near] += 0.8 * np.exp(-((t / 0.0008) ** 2)) * np.cos(2 * np.pi * 1500 * t)
    return np.repeat(samples[None], channels, axis=0)


def click_times(samples: np.ndarray, rate: int, expected: Sequence[float]) -> np.ndarray:
    """Time of the click nearest to each expected time (centroid of energy within 15 ms); nan where there is none."""
    found = []
    for time in expected:
        begin = max(0, round((time - 0.015) * rate))
        energy = samples[begin : round((time + 0.015) * rate)].astype(np.float64) ** 2
        energy[energy < 0.05 * energy.max(initial=0)] = 0
        total = energy.sum()
        found.append((begin + (energy * np.arange(energy.size)).sum() / total) / rate if total > 0.01 else np.nan)
    return np.array(found)


def write_clip(
    path: Path,
    *,
    frames: int = 50,
    fps: Fraction | int = 25,
    size: tuple[int, int] = (64, 48),
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    video_codec: str | None = "libx264",
    pix_fmt: str = "yuv420p",
    audio: Sequence[np.ndarray] = (),
    rate: int = 48_000,
    layout: str = "mono",
    audio_codec: str = "aac",
    audio_start: Fraction | int = 0,
    video_start: Fraction | int = 0,
    rotation: int = 0,
    hflip: bool = False,
    options: dict[str, str] | None = None,
    container_format: str | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Encode numbered frames and audio tracks (each float32 [C, N]). pts: frame stamps in `time_base`."""
    fps = Fraction(fps)
    with av.open(str(path), "w", format=container_format, options=muxer or {}) as out:
        video = None
        if video_codec:
            defaults = {"libx264": {"crf": "18", "preset": "ultrafast", "bf": "2"}}.get(video_codec, {})
            video = out.add_stream(video_codec, rate=fps, options=options if options is not None else defaults)
            video.width, video.height, video.pix_fmt = *size, pix_fmt
            video.codec_context.time_base = time_base or 1 / fps
            if rotation or hflip:
                if not hasattr(video, "set_display_rotation"):
                    pytest.skip("this PyAV cannot write a rotation")
                video.set_display_rotation(-rotation, hflip=hflip)
        tracks = []
        for _ in audio:
            track = out.add_stream(audio_codec, rate=rate)
            track.layout = layout
            tracks.append(track)
        base = time_base or 1 / fps
        packets = []
        for i in range(frames if video is not None else 0):
            frame = av.VideoFrame.from_ndarray(number_image(i, *size), format="rgb24")
            frame.pts = (pts[i] if pts is not None else i) + int(Fraction(video_start) / base)
            frame.time_base = base
            packets += video.encode(frame)
        if video is not None:
            packets += video.encode(None)
        for track, samples in zip(tracks, audio, strict=True):
            for begin in range(0, samples.shape[1], 1024):
                block = np.ascontiguousarray(samples[:, begin : begin + 1024], dtype=np.float32)
                sound = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                sound.sample_rate = rate
                sound.time_base = Fraction(1, rate)
                sound.pts = begin + round(Fraction(audio_start) * rate)
                packets += track.encode(sound)
            packets += track.encode(None)
        stamp = [p.dts if p.dts is not None else 0 for p in packets]
        for i in sorted(range(len(packets)), key=lambda i: stamp[i] * (packets[i].time_base or 1)):
            out.mux(packets[i])
    return path
