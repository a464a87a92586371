"""Writing video: H.264 and AAC (or Opus where the container wants it), whole files or none."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from ..errors import SyncLipError
from ..files.atomic import AtomicFile, close_quietly, write_error
from .audio import NativeAudio, NativeReader, iter_native
from .container import MAX_PIXELS, MEDIA_ERRORS, MOV_OPTIONS, PathLike, existing_file, open_input
from .encode import AudioEncoder
from .info import standard_rate

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


class VideoWriter:
    """Writes RGB frames, and the audio of another file or given samples, to MP4, MOV or MKV.

    width, height: of the frames given. fps: exact, as a Fraction; frame i is shown at i / fps.
    variable: frames are shown at the times that `write` is given; fps is then their mean.
    audio_from: a media file whose track `audio_track` is written with its rate and channels, from t = 0 of its video
    clock; a file without audio gives a result without (`has_audio` False). audio: samples instead. The audio never
    outlasts the frames written. Colours are BT.709, limited range, and tagged so.
    crf: H.264 quality, lower is better; preset: x264's speed.
    odd: H.264 for every player (yuv420p) has even sides. "pad" repeats the last row or column (the file is one pixel
    larger); "yuv444" keeps the exact size in a profile that browsers and phones often refuse.

    Use as a context manager: the file appears under its name when the block ends well, and not at all on any error or
    Ctrl-C. Raises SyncLipError for an unusable folder, a full disk, a frame of another size, no frame at all.
    """

    def __init__(
        self,
        path: PathLike,
        width: int,
        height: int,
        fps: Fraction | int | float,
        *,
        audio_from: PathLike | None = None,
        audio_track: int = 0,
        audio: NativeAudio | None = None,
        crf: int = 17,
        preset: str = "medium",
        odd: str = "pad",
        variable: bool = False,
    ) -> None:
        self.path = Path(path)
        self.width, self.height = int(width), int(height)
        self.fps = standard_rate(fps) if isinstance(fps, float) else Fraction(fps)
        self._check(crf, odd)
        self._sound: Iterator[np.ndarray] | None = None
        source = audio or (None if audio_from is None else self._open_audio(audio_from, audio_track))
        self._file = AtomicFile(self.path)
        try:
            muxer = FORMATS[self.path.suffix.lower()]
            options = {} if muxer == "matroska" else MOV_OPTIONS
            self._out = av.open(str(self._file.temporary), "w", format=muxer, container_options=options)
            video = self._out.add_stream("libx264", rate=self.fps, options={"crf": str(crf), "preset": preset})
            exact = odd == "yuv444" and (self.width % 2 or self.height % 2)
            video.width = self.width if exact else self.width + self.width % 2
            video.height = self.height if exact else self.height + self.height % 2
            video.pix_fmt = "yuv444p" if exact else "yuv420p"
            video.codec_context.time_base = self._time_base = Fraction(1, 90_000) if variable else 1 / self.fps
            video.codec_context.colorspace = video.codec_context.color_primaries = video.codec_context.color_trc = 1
            video.codec_context.color_range = 1
            self._video = video
            self._colours = VideoReformatter()
            self._audio: AudioEncoder | None = None
            if source is not None:
                self._audio = AudioEncoder(self._out, "aac", source.rate, source.layout)
                self._rate = source.rate
                self._sound = _pieces(source.samples) if isinstance(source, NativeAudio) else iter(source)
        except BaseException as error:
            self.abort()
            if isinstance(error, MEDIA_ERRORS):
                raise write_error(self.path, error) from error
            raise
        self.frames = 0
        self._last = -1  # stamp of the last frame
        self._sent = 0  # samples given to the audio encoder
        self._ahead: np.ndarray | None = None

    @property
    def has_audio(self) -> bool:
        return self._audio is not None

    def _check(self, crf: int, odd: str) -> None:
        if self.path.suffix.lower() not in FORMATS:
            raise SyncLipError(f"{self.path}: ends in {self.path.suffix!r}, expected one of {', '.join(FORMATS)}.")
        if self.width < 1 or self.height < 1 or self.width * self.height > MAX_PIXELS:
            raise SyncLipError(f"{self.path}: cannot write pictures of {self.width}x{self.height}.")
        if not Fraction(1, 10) <= self.fps <= 1000:
            raise SyncLipError(f"{self.path}: fps is {self.fps}, expected 0.1 to 1000.")
        if odd not in ("pad", "yuv444"):
            raise SyncLipError(f"odd={odd!r}: expected 'pad' or 'yuv444'.")
        if not 0 <= crf <= 51:
            raise SyncLipError(f"crf={crf}: expected 0 (lossless) to 51.")

    def _open_audio(self, path: PathLike, track: int) -> NativeReader | None:
        existing_file(path)
        if Path(path).resolve() == self.path.resolve():
            raise SyncLipError(f"{self.path}: is both the source of the audio and the file to write.")
        with open_input(path) as container:
            if not container.streams.audio:
                return None
        return iter_native(path, track=track)

    def write(self, image: np.ndarray, time_s: float | None = None) -> None:
        """image: uint8 [H, W, 3], RGB. Shown at the next frame time, or at time_s where the rate is variable."""
        if image.dtype != np.uint8 or image.shape != (self.height, self.width, 3):
            raise SyncLipError(
                f"{self.path}: frame {self.frames} is {image.dtype} {image.shape}, "
                f"expected uint8 ({self.height}, {self.width}, 3)."
            )
        image = self._even(image)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = self._colours.reformat(
            picture,
            format=self._video.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.AREA,
        )
        time = self.frames / self.fps if time_s is None else Fraction(time_s)
        frame.pts = self._last = max(round(time / self._time_base), self._last + 1)
        frame.time_base = self._time_base
        self.frames += 1
        try:
            self._out.mux(self._video.encode(frame))
            self._write_audio(self._last * self._time_base + 1 / self.fps)
        except MEDIA_ERRORS as error:
            raise write_error(self.path, error) from error

    def _even(self, image: np.ndarray) -> np.ndarray:
        down, right = self._video.height - self.height, self._video.width - self.width
        return np.pad(image, ((0, down), (0, right), (0, 0)), mode="edge") if down or right else image

    def _write_audio(self, until: Fraction) -> None:
        """Encode audio up to the time `until`, so that the file is interleaved and little is held."""
        if self._audio is None or self._sound is None:
            return
        end = round(until * self._rate)
        while self._sent < end:
            block = self._ahead if self._ahead is not None else next(self._sound, None)
            if block is None:
                return
            use = min(end - self._sent, block.shape[1])
            self._out.mux(list(self._audio.encode(block[:, :use])))
            self._sent += use
            self._ahead = block[:, use:] if use < block.shape[1] else None

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            if self.frames == 0:
                raise SyncLipError(f"{self.path}: no frame was written.")
            try:
                self._out.mux(self._video.encode(None))
                if self._audio is not None:
                    self._out.mux(list(self._audio.finish()))
                self._out.close()
            except MEDIA_ERRORS as error:
                raise write_error(self.path, error) from error
        except BaseException:
            self.abort()
            raise
        self._file.commit()

    def abort(self) -> None:
        """Drop everything written so far."""
        if hasattr(self, "_out"):
            close_quietly(self._out.close)
        self._file.discard()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _pieces(samples: np.ndarray, size: int = 48_000) -> Iterator[np.ndarray]:
    for begin in range(0, samples.shape[1], size):
        yield samples[:, begin : begin + size]
