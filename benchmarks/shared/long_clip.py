"""A face video of any length: a short clip, scaled and repeated."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from synclip_core.clock import TICK_RATE
from synclip_core.media.audio import read_audio
from synclip_core.media.video import iter_ticks


def write_clip(source: Path, target: Path, seconds: int, size: tuple[int, int] = (1280, 720)) -> None:
    """`source` fitted into `size` (width, height) at 25 fps, repeated to `seconds`, H.264 and AAC.

    The picture is encoded once; its packets are repeated.
    """
    frames = [np.asarray(ImageOps.pad(Image.fromarray(frame.image), size)) for _, frame in iter_ticks(source)]
    sound = read_audio(source)[: len(frames) * 640]
    with av.open(str(target), "w") as out:
        video = out.add_stream("libx264", rate=TICK_RATE, options={"preset": "veryfast", "crf": "23"})
        (video.width, video.height), video.pix_fmt = size, "yuv420p"
        audio = out.add_stream("aac", rate=16000, layout="mono")
        packets = []
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, TICK_RATE)
            packets += [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in video.encode(frame)]
        packets += [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in video.encode(None)]
        wave = np.resize(sound, seconds * 16000)
        cycles = -(-seconds * TICK_RATE // len(frames))
        spoken = 0
        for cycle in range(cycles):
            for data, pts, dts, key in packets:
                if pts + cycle * len(frames) >= seconds * TICK_RATE:
                    continue
                packet = av.Packet(data)
                packet.pts, packet.dts = pts + cycle * len(frames), dts + cycle * len(frames)
                packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, TICK_RATE), video, key
                out.mux(packet)
            until = min(len(wave), (cycle + 1) * len(sound))
            for start in range(spoken, until, 16000):
                piece = wave[None, start : min(start + 16000, until)]
                block = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 16000, start, Fraction(1, 16000)
                out.mux(audio.encode(block))
            spoken = until
        out.mux(audio.encode(None))
