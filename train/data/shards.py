"""Shards: plain tar files in the WebDataset naming (KEY.part), one sample a face track of a few seconds.

KEY.video.mp4 (H.264 face crops, 25 fps), KEY.audio.flac (16 kHz mono), KEY.track.safetensors (geometry, landmarks,
valid), KEY.json (subject, source, licence, split, ...). Nothing is pickled. Half of an hour's 170 MB is sound, a
quarter landmarks. `train.compact` writes the same samples at a fifth of that for a machine that is far away:
KEY.audio.ogg (Opus) and KEY.track.xz (regions instead of landmarks, positions in steps) in their place.
"""

import io
import json
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors
from scipy.signal import resample_poly

from synclip_core.errors import SyncLipError
from synclip_core.files.atomic import write_error

from .clip import Clip

FPS, RATE = 25, 16000
OPUS_RATE = 48000  # what Opus decodes to
STEP = 1 / 512  # of the canonical square: positions of compact samples, a quarter of a pixel of 112


def encode_sample(clip: Clip) -> dict[str, bytes]:
    """A clip as the parts of a shard sample."""
    track = {
        "geometry": np.ascontiguousarray(clip.geometry, np.float16),
        "valid": np.ascontiguousarray(clip.valid, np.uint8),
    }
    if clip.landmarks is not None:
        track["landmarks"] = np.ascontiguousarray(clip.landmarks, np.float16)
    meta = {**clip.meta, "margin": clip.margin, "frames": len(clip)}
    return {
        "video.mp4": _encode_video(clip.crops),
        "audio.flac": _encode_audio(clip.audio),
        "track.safetensors": save_safetensors(track),
        "json": json.dumps(meta, sort_keys=True).encode(),
    }


def compact_sample(clip: Clip, crf: int, opus_bits: int) -> dict[str, bytes]:
    """As `encode_sample`, small: crf of H.264, bits a second of Opus; `decode_sample` reads both."""
    track = {
        "geometry": _steps(clip.geometry),
        "regions": _steps(clip.regions()),
        "valid": np.ascontiguousarray(clip.valid, np.uint8),
    }
    meta = {**clip.meta, "margin": clip.margin, "frames": len(clip)}
    return {
        "video.mp4": _encode_video(clip.crops, {"crf": str(crf), "preset": "medium"}),
        "audio.ogg": _encode_opus(clip.audio, opus_bits),
        "track.xz": lzma.compress(save_safetensors(track)),
        "json": json.dumps(meta, sort_keys=True).encode(),
    }


def _steps(positions: np.ndarray) -> np.ndarray:
    """float [T, ...] -> int16 [..., T] differences along time of positions in STEPs: small numbers, which pack well."""
    whole = np.round(positions / STEP).astype(np.int16)
    return np.ascontiguousarray(np.moveaxis(np.diff(whole, axis=0, prepend=0).astype(np.int16), 0, -1))


def _positions(steps: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(np.cumsum(steps, -1, dtype=np.int32), -1, 0), np.float32) * np.float32(STEP)


def decode_sample(key: str, parts: dict[str, bytes]) -> Clip:
    """The inverse of `encode_sample` (crops after H.264). Raises SyncLipError when a part is missing or unreadable."""
    try:
        meta = json.loads(parts["json"])
        crops = _decode_video(parts["video.mp4"])
        if "track.xz" in parts:
            track = load_safetensors(lzma.decompress(parts["track.xz"]))
            geometry, known = _positions(track["geometry"]), {"boxes": _positions(track["regions"])}
            audio = _decode_audio(parts["audio.ogg"], OPUS_RATE // RATE)
        else:
            track = load_safetensors(parts["track.safetensors"])
            geometry, known = track["geometry"].astype(np.float32), {}
            if "landmarks" in track:
                known["landmarks"] = track["landmarks"].astype(np.float32)
            audio = _decode_audio(parts["audio.flac"])
    except (KeyError, ValueError, av.FFmpegError, OSError, lzma.LZMAError) as error:
        raise SyncLipError(f"shard sample {key}: {type(error).__name__}: {error}") from error
    count = min(len(crops), len(track["valid"]))
    wave = np.zeros(count * RATE // FPS, np.float32)
    wave[: len(audio)] = audio[: len(wave)]
    margin = float(meta.pop("margin"))
    valid = track["valid"][:count].astype(bool)
    known = {name: values[:count] for name, values in known.items()}
    return Clip(key, crops[:count], geometry[:count], valid, wave, margin, meta, **known)


def write_shard(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    """Write samples to a tar; the file appears only when it is whole. Raises SyncLipError where the disk is full."""
    temporary = path.with_suffix(".tmp")
    try:
        with tarfile.open(temporary, "w") as tar:
            for key, parts in samples.items():
                for part, data in parts.items():
                    info = tarfile.TarInfo(f"{key}.{part}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_error(path, error) from error


@dataclass(frozen=True)
class Stored:
    """Where the parts of a sample lie in a shard: name -> first byte, length."""

    path: Path
    parts: dict[str, tuple[int, int]]

    def read(self, *names: str) -> dict[str, bytes]:
        """The parts, all if none is named. Raises SyncLipError when the shard is gone, cut short or lacks one."""
        found = {}
        try:
            with open(self.path, "rb") as file:
                for name in names or self.parts:
                    offset, length = self.parts[name]
                    file.seek(offset)
                    found[name] = file.read(length)
                    if len(found[name]) < length:
                        raise SyncLipError(f"{self.path}: cut short; delete it and run train.prepare again")
        except OSError as error:
            raise SyncLipError(f"{self.path}: cannot be read ({error.strerror})") from error
        except KeyError as error:
            raise SyncLipError(f"{self.path}: a sample without {error}; was it written by train.prepare?") from error
        return found


def index_shard(path: Path) -> dict[str, Stored]:
    """Samples of a tar in order, nothing of them read yet. Raises SyncLipError when the tar is damaged."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if info.isfile():
                    key, _, part = info.name.partition(".")
                    samples.setdefault(key, {})[part] = (info.offset_data, info.size)
    except (tarfile.TarError, OSError) as error:
        raise SyncLipError(f"{path}: damaged shard ({error}); delete it and run train.prepare again") from error
    return {key: Stored(path, parts) for key, parts in samples.items()}


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Samples of a tar in order, whole. Raises SyncLipError when the tar is damaged."""
    for key, sample in index_shard(path).items():
        yield key, sample.read()


def _encode_video(crops: np.ndarray, options: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options or {"crf": "16", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = crops.shape[2], crops.shape[1], "yuv420p"
        for index, crop in enumerate(crops):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(crop), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _decode_video(data: bytes) -> np.ndarray:
    colours = VideoReformatter()  # each frame by itself would set up a scaler of its own: most of the time of all
    with av.open(io.BytesIO(data)) as container:
        frames = container.decode(video=0)
        return np.stack([colours.reformat(frame, format="rgb24").to_ndarray() for frame in frames])


def _encode_audio(audio: np.ndarray) -> bytes:
    return _encode_sound(audio, "flac", "flac")


def _encode_opus(audio: np.ndarray, bits: int) -> bytes:
    return _encode_sound(audio, "ogg", "libopus", bits)


def _encode_sound(audio: np.ndarray, container: str, codec: str, bits: int = 0) -> bytes:
    buffer = io.BytesIO()
    samples = (np.clip(audio, -1, 1) * 32767).round().astype(np.int16)
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE, layout="mono", format="s16")
        if bits:
            stream.bit_rate = bits
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def _decode_audio(data: bytes, faster: int = 1) -> np.ndarray:
    """float32 [N] at RATE; faster: times RATE that the codec decodes to."""
    with av.open(io.BytesIO(data)) as container:
        blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    sound = np.concatenate(blocks).astype(np.float32)
    if sound.size and faster > 1:  # Opus decodes to float, FLAC to 16 bit
        return resample_poly(sound, 1, faster).astype(np.float32)
    return sound / 32767
