"""The files of benchmarks.robustness: what is done to a clip's picture and sound, and how the result is written."""

import hashlib
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from scipy.signal import resample_poly

from benchmarks.worse import pictures as worse_pictures
from benchmarks.worse import sound as worse_sound
from synclip_core.clock import RATE
from synclip_core.faces.tracking import FaceTracker
from synclip_core.files.atomic import atomic_path
from synclip_core.media.audio import read_audio
from synclip_core.media.video import SourceFrame, iter_ticks
from synclip_core.metrics.clip_lag import shift_audio

CRF = 18  # of pictures that no codec is to harm


class Source:
    """A clip in memory, read when something of it is asked for."""

    def __init__(self, path: Path, voices: Callable[[], Sequence[np.ndarray]]) -> None:
        self.path, self._voices = path, voices

    @cached_property
    def ticks(self) -> list[tuple[int, SourceFrame]]:
        return list(iter_ticks(self.path))

    @cached_property
    def frames(self) -> worse_pictures.Frames:
        """At 25 fps, of even width and height."""
        return [
            frame.image[: frame.image.shape[0] // 2 * 2, : frame.image.shape[1] // 2 * 2] for _, frame in self.ticks
        ]

    @cached_property
    def sound(self) -> np.ndarray:
        """As long as the frames."""
        return read_audio(self.path, duration_s=Fraction(len(self.ticks), 25))

    @cached_property
    def transforms(self) -> list[np.ndarray | None]:
        """Canonical square -> pixels of the first face on each frame."""
        chunks = list(FaceTracker().run(self.ticks))
        first = min((chunk.track_id for chunk in chunks), default=-1)
        found = {
            t: m for c in chunks if c.track_id == first for t, m in zip(c.ticks.tolist(), c.transforms, strict=True)
        }
        return [found.get(tick) for tick, _ in self.ticks]

    @cached_property
    def voices(self) -> Sequence[np.ndarray]:
        """Of other people."""
        return self._voices()


# ---- the variants -----------------------------------------------------------------------------------------------

Picture = tuple[Callable[[Source], worse_pictures.Frames], int]  # frames, crf
Sound = Callable[[np.ndarray, Source, np.random.Generator], np.ndarray]


def pictures() -> dict[str, Picture]:
    found: dict[str, Picture] = {"clean": (lambda s: s.frames, CRF)}

    def through(name: str, frames: Callable[[worse_pictures.Frames], worse_pictures.Frames], crf: int = CRF) -> None:
        found[name] = (lambda s: frames(s.frames), crf)

    for crf in (28, 34, 40):
        through(f"crf {crf}", lambda f: f, crf)
    for lines in (240, 180, 144):
        through(f"{lines} lines", lambda f, n=lines: worse_pictures.reduced(f, n))
    for sigma in (1.0, 2.0, 3.0):  # for 288 lines
        through(
            f"blur {sigma:g}",
            lambda f, s=sigma: worse_pictures.filtered(f, ("gblur", f"sigma={s * f[0].shape[0] / 288}")),
        )
    for level in (15, 30, 60):
        through(f"noise {level}", lambda f, n=level: worse_pictures.filtered(f, ("noise", f"alls={n}:allf=t")))
    through("dark", lambda f: worse_pictures.toned(f, (0.25,) * 3))
    through("overexposed", lambda f: worse_pictures.toned(f, (2.0,) * 3))
    through("low contrast", lambda f: worse_pictures.toned(f, contrast=0.3))
    through("grey", lambda f: worse_pictures.filtered(f, ("hue", "s=0")))
    through("red light", lambda f: worse_pictures.toned(f, (1.3, 0.6, 0.5)))
    through("hue turned", lambda f: worse_pictures.filtered(f, ("hue", "h=30")))
    for what in worse_pictures.COVERS:
        found[f"covered: {what}"] = (lambda s, w=what: worse_pictures.covered(s.frames, s.transforms, w), CRF)
    for lines, crf in ((240, 28), (180, 32), (144, 36)):
        through(f"{lines} lines, crf {crf}", lambda f, n=lines: worse_pictures.reduced(f, n), crf)
    return found


def sounds() -> dict[str, Sound]:
    found: dict[str, Sound] = {"clean": lambda x, s, rng: x}
    mixed = worse_sound.with_other
    for db in (20, 10, 0):
        found[f"white {db} dB"] = lambda x, s, rng, db=db: mixed(x, worse_sound.white(len(x), rng), db)
        found[f"pink {db} dB"] = lambda x, s, rng, db=db: mixed(x, worse_sound.pink(len(x), rng), db)
        found[f"music {db} dB"] = lambda x, s, rng, db=db: mixed(x, worse_sound.music(len(x), rng), db)
    for db in (20, 10, 5):
        found[f"babble {db} dB"] = lambda x, s, rng, db=db: mixed(x, worse_sound.babble(len(x), s.voices, rng), db)
    for rt60 in (0.2, 0.5, 1.0):
        found[f"room {rt60} s"] = lambda x, s, rng, t=rt60: worse_sound.in_room(x, t, rng)
    for low, high in ((200, 3800), (300, 3400), (400, 2700)):
        found[f"{low}-{high} Hz"] = lambda x, s, rng, a=low, b=high: worse_sound.band(x, a, b)
    for factor in (0.85, 1.18, 1.35):
        found[f"throat x{factor}"] = lambda x, s, rng, f=factor: worse_sound.other_throat(x, f)
    return found


PICTURES, SOUNDS = pictures(), sounds()


@dataclass(frozen=True)
class Variant:
    """picture, sounds: names above, the sounds one after the other; codec: of the sound, see CODECS; speed: of both."""

    family: str
    name: str
    picture: str = "clean"
    sounds: tuple[str, ...] = ()
    codec: str = "pcm"
    speed: float = 1.0


def variants() -> list[Variant]:
    found = [Variant("clean", "clean")]
    families = {
        "H.264": ("crf 28", "crf 34", "crf 40"),
        "few lines": ("240 lines", "180 lines", "144 lines"),
        "blur": ("blur 1", "blur 2", "blur 3"),
        "video noise": ("noise 15", "noise 30", "noise 60"),
        "light": ("dark", "overexposed", "low contrast"),
        "colour": ("grey", "red light", "hue turned"),
        "covered": tuple(f"covered: {what}" for what in worse_pictures.COVERS),
    }
    found += [Variant(family, name, picture=name) for family, names in families.items() for name in names]
    families = {
        "white noise": ("white 20 dB", "white 10 dB", "white 0 dB"),
        "pink noise": ("pink 20 dB", "pink 10 dB", "pink 0 dB"),
        "music": ("music 20 dB", "music 10 dB", "music 0 dB"),
        "babble": ("babble 20 dB", "babble 10 dB", "babble 5 dB"),
        "room": ("room 0.2 s", "room 0.5 s", "room 1.0 s"),
        "throat": ("throat x0.85", "throat x1.18", "throat x1.35"),
    }
    found += [Variant(family, name, sounds=(name,)) for family, names in families.items() for name in names]
    found += [
        Variant("telephone", "200-3800 Hz", sounds=("200-3800 Hz",)),
        Variant("telephone", "300-3400 Hz, mu-law", sounds=("300-3400 Hz",), codec="mu-law"),
        Variant("telephone", "400-2700 Hz, mu-law, white 20 dB", sounds=("white 20 dB", "400-2700 Hz"), codec="mu-law"),
        *(Variant("AAC", f"AAC {rate} kbit/s", codec=f"aac {rate}") for rate in (32, 16, 12)),
        *(Variant("speed", f"speed {speed}", speed=speed) for speed in (0.95, 1.05, 1.1)),
        Variant("together", "mild", "240 lines, crf 28", ("pink 20 dB",), "aac 32"),
        Variant("together", "web", "180 lines, crf 32", ("room 0.2 s", "music 10 dB"), "aac 32"),
        Variant("together", "poor", "144 lines, crf 36", ("room 0.5 s", "babble 10 dB"), "aac 16"),
    ]
    return found


# ---- files ------------------------------------------------------------------------------------------------------

# codec of the sound -> (container, codec, samples a second, bits a second)
CODECS = {
    "pcm": (".mov", "pcm_s16le", RATE, None),
    "mu-law": (".mov", "pcm_mulaw", 8000, None),
    **{f"aac {rate}": (".mp4", "aac", 44100, rate * 1000) for rate in (32, 16, 12)},
}


def write_picture(path: Path, frames: worse_pictures.Frames, crf: int, speed: float) -> None:
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as out:
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        stream = out.add_stream("libx264", rate=25 * Fraction(str(speed)), options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        out.mux(stream.encode(None))


def write_file(path: Path, picture: Path, sound: np.ndarray, codec: str) -> None:
    """picture: a file without sound, whose packets are copied; sound: [N], 16 kHz."""
    _, name, rate, bits = CODECS[codec]
    wave = resample_poly(sound, rate // 100, RATE // 100) if rate != RATE else sound
    wave = (wave.clip(-1, 1) * 32767).astype(np.int16)
    with atomic_path(path) as temporary, av.open(str(picture)) as shown, av.open(str(temporary), "w") as out:
        video = out.add_stream_from_template(shown.streams.video[0])
        audio = out.add_stream(name, rate=rate, layout="mono")
        if bits:
            audio.bit_rate = bits
        for packet in shown.demux(shown.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
        convert = av.AudioResampler(format=audio.format, layout="mono", rate=rate)
        for begin in range(0, len(wave), 1024):
            piece = av.AudioFrame.from_ndarray(wave[None, begin : begin + 1024], format="s16", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = rate, begin, Fraction(1, rate)
            for frame in convert.resample(piece):
                out.mux(audio.encode(frame))
        out.mux(audio.encode(None))


def make_file(source: Source, variant: Variant, shift: int, seed: int, folder: Path) -> Path:
    """The variant's file, made unless it is there."""
    path = folder / f"{slug(variant.family)}-{slug(variant.name)}{CODECS[variant.codec][0]}"
    if path.exists():
        return path
    picture = folder / f"picture-{slug(variant.picture)}-{variant.speed}.mp4"
    if not picture.exists():
        make, crf = PICTURES[variant.picture]
        write_picture(picture, make(source), crf, variant.speed)
    sound = source.sound if variant.speed == 1 else worse_sound.faster(source.sound, variant.speed)
    sound = shift_audio(sound, shift)
    for name in variant.sounds:
        rng = np.random.default_rng((seed, zlib.crc32(source.path.name.encode()), zlib.crc32(name.encode())))
        sound = SOUNDS[name](sound, source, rng)
    write_file(path, picture, sound, variant.codec)
    return path


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower())


def code_state() -> str:
    """Of what makes the files: a folder for each, so that none outlives the code that made it."""
    files = (__file__, worse_sound.__file__, worse_pictures.__file__)
    return hashlib.sha256(b"".join(Path(str(file)).read_bytes() for file in files)).hexdigest()[:12]
