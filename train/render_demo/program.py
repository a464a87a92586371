"""Renders the bundled test clip: `python -m train.render_demo` writes synclip_core/demo/speech.mp4 (true lag 0).

Needs libespeak-ng (Debian: espeak-ng). The phonemes' times are kept beside the clip, in speech.json. `frame_times`
says which moment of the mouth a frame shows.
"""

import argparse
import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from synclip_core.clock import TICK_RATE
from synclip_core.demo import CLIP
from synclip_core.demo.head import HeadRenderer
from synclip_core.demo.identity import make_identity
from synclip_core.demo.motion import pose_track
from synclip_core.demo.visemes import frame_times, mouth_track

from .espeak import speak

TEXT = (
    "My mother bought a big blue boat. Please move the lamp above the map, before Bob and Pam open the wide warm room. "
    "Five happy people wave from far away."
)


def render_clip(
    out: Path,
    *,
    text: str = TEXT,
    voice: str = "en-us",
    speed: int = 150,
    seed: int = 11,
    size: int = 320,
    crf: int = 20,
) -> dict:
    """Writes `out` (H.264 + AAC) and returns what is known of it: text, seed, and the phonemes' times in seconds."""
    wave, rate, phonemes = speak(text, voice, speed)
    lead = rate * 2 // 5  # the face is seen at rest before it speaks and after
    frames = int(np.ceil((len(wave) + 2 * lead) / rate * TICK_RATE))
    sound = np.zeros(frames * rate // TICK_RATE, np.int16)
    sound[lead : lead + len(wave)] = wave[: len(sound) - lead]
    shift = lead / rate
    phonemes = [type(p)(p.name, round(p.start_s + shift, 4), round(p.end_s + shift, 4)) for p in phonemes]

    times = frame_times(frames, TICK_RATE)
    mouths, poses = mouth_track(phonemes, times), pose_track(times, seed)
    renderer = HeadRenderer(make_identity(seed), size=size)
    # bitexact: no muxer version and no date in the file, so that a re-render differs only where the drawing does.
    with av.open(str(out), "w", options={"movflags": "+faststart"}) as file:
        file.flags = av.container.Flags.bitexact.value
        video = file.add_stream(
            "libx264", rate=TICK_RATE, options={"crf": str(crf), "preset": "slow", "tune": "animation"}
        )
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        voice_track = file.add_stream("aac", rate=rate, layout="mono")
        voice_track.bit_rate = 64000
        for k in tqdm(range(frames), desc="render", unit="frame"):
            picture = av.VideoFrame.from_ndarray(renderer.render(mouths[k], poses[k]), format="rgb24")
            picture.pts, picture.time_base = k, Fraction(1, TICK_RATE)
            file.mux(video.encode(picture))
            part = sound[k * rate // TICK_RATE : (k + 1) * rate // TICK_RATE]
            block = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = rate, k * rate // TICK_RATE, Fraction(1, rate)
            file.mux(voice_track.encode(block))
        file.mux(video.encode(None))
        file.mux(voice_track.encode(None))
    return {"text": text, "voice": voice, "seed": seed, "fps": TICK_RATE, "phonemes": [asdict(p) for p in phonemes]}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=CLIP, help="file to write (default: the bundled clip)")
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--voice", default="en-us", help="a voice of espeak-ng")
    parser.add_argument("--speed", type=int, default=150, help="words a minute")
    parser.add_argument("--seed", type=int, default=11, help="who speaks and how the head moves")
    parser.add_argument("--size", type=int, default=320, help="pixels a side")
    parser.add_argument("--crf", type=int, default=20, help="quality of the picture, lower is better and larger")
    args = parser.parse_args(arguments)
    options = {key: getattr(args, key) for key in ("text", "voice", "speed", "seed", "size", "crf")}
    facts = render_clip(args.out, **options)
    args.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {len(facts['phonemes'])} phonemes")
    return 0
