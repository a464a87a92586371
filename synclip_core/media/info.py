"""What is in a media file."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import SyncLipError
from .container import PathLike, check_audio, find_video, open_input
from .span import video_span

if TYPE_CHECKING:
    from av.container import InputContainer


@dataclass(frozen=True)
class MediaInfo:
    """Facts about a file.

    duration_s: from the first to the end of the last video frame (of the audio, in a file without video).
    fps: mean over the file; frame_rate: the same as a fraction, a standard rate where one fits (30000/1001, ...).
    variable: the frames do not come at that one rate.
    width, height: as displayed, after rotation, in square pixels. rotation: degrees clockwise (0, 90, 180, 270) that
    the stored picture is turned for display. audio_rate, audio_channels, audio_codec describe track 0.
    """

    path: str
    duration_s: float
    fps: float
    frame_rate: Fraction
    width: int
    height: int
    rotation: int
    mirrored: bool
    has_video: bool
    has_audio: bool
    audio_rate: int
    audio_channels: int
    audio_tracks: int
    video_codec: str
    audio_codec: str
    pixel_format: str = ""
    bit_depth: int = 0
    alpha: bool = False
    frames: int = 0
    variable: bool = False


def probe(path: PathLike) -> MediaInfo:
    """Look into a file: reads its packets once, decodes one frame.

    Raises SyncLipError when it is not a media file, holds neither video nor audio, or no picture of its video decodes.
    """
    with open_input(path) as container:
        video = find_video(container)
        tracks = container.streams.audio
        if video is None and not tracks:
            raise SyncLipError(f"{path}: has neither a video nor an audio track.")
        rate, channels, audio_codec = 0, 0, ""
        if tracks:
            context = tracks[0].codec_context
            audio_codec = context.name if context is not None else "unknown"
            if context is not None:
                rate, channels = context.sample_rate, context.layout.nb_channels
                check_audio(path, rate, channels)
        video_codec = ""
        if video is not None:
            video_codec = video.codec_context.name if video.codec_context is not None else "unknown"
        audio_s = _header_duration(container)
    span = video_span(path) if video is not None else None
    fps = Fraction(0) if span is None else standard_rate(1 / span.frame_s)
    width, height = span.shape.display if span else (0, 0)
    return MediaInfo(
        path=str(path),
        duration_s=float(span.duration) if span else audio_s,
        fps=float(fps),
        frame_rate=fps,
        width=width,
        height=height,
        rotation=span.shape.turn.rotation if span else 0,
        mirrored=span.shape.turn.mirrored if span else False,
        has_video=span is not None,
        has_audio=bool(tracks),
        audio_rate=rate,
        audio_channels=channels,
        audio_tracks=len(tracks),
        video_codec=video_codec,
        audio_codec=audio_codec,
        pixel_format=span.pixel_format if span else "",
        bit_depth=span.bit_depth if span else 0,
        alpha=span.alpha if span else False,
        frames=span.frames if span else 0,
        variable=span is not None and not span.steady,
    )


_RATES = [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120)]
_RATES += [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]


def standard_rate(fps: Fraction | float) -> Fraction:
    """The standard frame rate within 0.03 % of `fps` (time stamps are rounded in some containers), else fps itself."""
    exact = Fraction(fps)
    best = min(_RATES, key=lambda rate: abs(rate - exact))
    return best if abs(best - exact) <= best * Fraction(3, 10_000) else exact.limit_denominator(1001)


def _header_duration(container: "InputContainer") -> float:
    """Length that a file without video claims, in seconds; 0 where it does not say."""
    return max(0.0, (container.duration or 0) / 1_000_000)
