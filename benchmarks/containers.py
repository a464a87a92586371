"""One clip in many containers, frame rates, sound formats, sizes and orientations: does the lag stay the same?

    python -m benchmarks.containers CLIP... > containers.json

Each variant is encoded from the decoded clip and scored like any file. Reported per clip and variant: the lag in frames
and, refined by a parabola, in ms, and its distance from the median of all variants of that clip.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from scipy.signal import resample_poly

from synclip_core.clock import RATE
from synclip_core.media.audio import read_audio
from synclip_core.media.video import iter_ticks
from synclip_core.pipeline import SyncPipeline
from synclip_core.sync.measure import measure_sync


@dataclass(frozen=True)
class Variant:
    """How to write the clip. fps 0: variable, between 15 and 50; height: of the picture
    in pixels; rotation: display matrix, degrees clockwise."""

    name: str
    suffix: str = ".mp4"
    video: str = "libx264"
    audio: str = "aac"
    fps: Fraction | int = 25
    rate: int = 48000
    layout: str = "stereo"
    rotation: int = 0
    height: int | None = None


VARIANTS = (
    Variant("mp4"),
    Variant("mkv, Opus", suffix=".mkv", audio="libopus"),
    Variant("webm, VP9, Opus", suffix=".webm", video="libvpx-vp9", audio="libopus"),
    Variant("mov, PCM", suffix=".mov", audio="pcm_s16le"),
    Variant("23.976 fps", fps=Fraction(24000, 1001)),
    Variant("24 fps", fps=24),
    Variant("29.97 fps", fps=Fraction(30000, 1001)),
    Variant("30 fps", fps=30),
    Variant("50 fps", fps=50),
    Variant("60 fps", fps=60),
    Variant("variable frame rate", fps=0),
    Variant("44.1 kHz mono", rate=44100, layout="mono"),
    Variant("44.1 kHz stereo", rate=44100),
    Variant("5.1", layout="5.1"),
    Variant("turned by 90 degrees", rotation=90),
    Variant("turned by 270 degrees, 30 fps", rotation=270, fps=30),
    Variant("1080p", height=1080),
)


def stamps(variant: Variant, duration_s: float) -> list[float]:
    """Start of each frame in seconds."""
    if variant.fps:
        return [float(i / Fraction(variant.fps)) for i in range(int(duration_s * variant.fps))]
    steps = np.random.default_rng(0).uniform(1 / 50, 1 / 15, int(duration_s * 50))
    return [round(t, 4) for t in np.concatenate([[0.0], np.cumsum(steps)]) if t < duration_s - 0.07]


def write_variant(frames: list[np.ndarray], sound: np.ndarray, variant: Variant, path: Path) -> None:
    """frames: RGB at 25 fps; sound: 16 kHz mono, -1..1. Each new frame shows what was seen at its middle."""
    starts = stamps(variant, len(frames) / 25)
    ends = [*starts[1:], starts[-1] + 0.04]
    base = Fraction(1, 90000) if not variant.fps else 1 / Fraction(variant.fps)
    with av.open(str(path), "w") as out:
        options = {"crf": "20", "preset": "veryfast"} if variant.video == "libx264" else {"deadline": "realtime"}
        video = out.add_stream(variant.video, rate=Fraction(variant.fps or 30), options=options)
        video.codec_context.time_base = base
        images = [oriented(frame, variant) for frame in frames]
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuv420p"
        if variant.rotation:
            video.set_display_rotation(-variant.rotation)
        audio = out.add_stream(variant.audio, rate=variant.rate, layout=variant.layout)
        for start, end in zip(starts, ends, strict=True):
            frame = av.VideoFrame.from_ndarray(
                images[min(int((start + end) / 2 * 25), len(images) - 1)], format="rgb24"
            )
            frame.pts, frame.time_base = round(start / base), base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        wave = resample_poly(sound, variant.rate // 100, RATE // 100).astype(np.float32)
        channels = {"mono": 1, "stereo": 2, "5.1": 6}[variant.layout]
        for begin in range(0, len(wave), 1024):
            block = np.repeat(wave[None, begin : begin + 1024], channels, 0)
            piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=variant.layout)
            piece.sample_rate, piece.pts, piece.time_base = variant.rate, begin, Fraction(1, variant.rate)
            out.mux(audio.encode(piece))
        out.mux(audio.encode(None))


def oriented(frame: np.ndarray, variant: Variant) -> np.ndarray:
    """The picture as stored: scaled, and turned against the display rotation."""
    if variant.height:
        width = round(frame.shape[1] * variant.height / frame.shape[0] / 2) * 2
        frame = np.asarray(Image.fromarray(frame).resize((width, variant.height), Image.Resampling.BICUBIC))
    frame = np.rot90(frame, variant.rotation // 90)
    return np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])


def lags(clip: Path, pipeline: SyncPipeline, folder: Path, variants: tuple[Variant, ...] = VARIANTS) -> dict[str, Any]:
    """Variant -> verdict, lag in frames and refined lag in ms."""
    frames = [frame.image for _, frame in iter_ticks(clip)]
    sound = read_audio(clip)[: len(frames) * 640]
    found = {}
    for index, variant in enumerate(variants):
        path = folder / f"{index}{variant.suffix}"
        write_variant(frames, sound, variant, path)
        streams = pipeline.tokens(path)
        result = measure_sync(
            streams.audio, streams.vocal, streams.valid, streams.speech, thresholds=pipeline.thresholds
        )
        path.unlink()
        lag, fine = result.best_lag_frames, result.refined_lag_ms
        found[variant.name] = {
            "verdict": result.verdict,
            "lag_frames": lag,
            "lag_ms": None if fine is None else round(fine, 1),
        }
    middle = np.median([row["lag_ms"] for row in found.values() if row["lag_ms"] is not None] or [np.nan])
    for row in found.values():
        row["from_median_ms"] = None if row["lag_ms"] is None else round(float(row["lag_ms"] - middle), 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    options = parser.parse_args()
    pipeline = SyncPipeline()
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for clip in options.clips:
            report[clip.name] = lags(clip, pipeline, Path(folder))
    rows = [row for clip in report.values() for row in clip.values()]
    away = [abs(row["from_median_ms"]) if row["from_median_ms"] is not None else np.inf for row in rows]
    report["all"] = {
        "files": len(rows),
        "within_20_ms": sum(x <= 20 for x in away),
        "largest_ms": max(away),
        "same_frame": sum(len({row["lag_frames"] for row in clip.values()}) == 1 for clip in report.values()),
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
