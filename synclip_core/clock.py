"""The one clock: t = 0 is the first video frame, ticks run at 25 a second, and times never run backwards.

Times are exact (`Fraction` seconds) until they are handed out.
"""

from fractions import Fraction

FPS = 25.0  # of tokens, lags and verdicts, whatever the rate of the file
FRAME_MS = 1000.0 / FPS
RATE = 16000  # samples a second of the sound that the model hears
TICK = 640  # samples a frame
TICK_RATE = 25  # FPS as a whole number, for exact times
# A forward jump of a time stamp over this is a broken stamp, not a pause: the stream continues where it was.
MAX_GAP_S = 300
# A backward jump over this is a restarted clock (joined recordings): the stream continues where it was.
RESET_S = 1
# A frame is never shown for longer than this at the end of a file.
MAX_LAST_S = 60


def tick_count(duration: Fraction | float, fps: Fraction | int = TICK_RATE) -> int:
    """Number of ticks in a video: max(1, round(duration * fps)). duration in seconds."""
    return max(1, round(duration * fps))


class Times:
    """Presentation times of the frames of one stream, in seconds since `start`, never decreasing.

    A missing stamp continues at the nominal rate; a small step back is clamped (so that errors do not add up); a jump
    back over `RESET_S` or ahead over `MAX_GAP_S` moves the whole rest of the stream.
    """

    def __init__(self, start: Fraction, nominal: Fraction) -> None:
        self.start = start
        self.nominal = nominal
        self.last: Fraction | None = None
        self.jumps = 0

    def place(self, stamp: Fraction | None) -> Fraction:
        """Time of the next frame; stamp: its presentation time in the file, in seconds, None if missing."""
        follow = Fraction(0) if self.last is None else self.last + self.nominal
        time = follow if stamp is None else stamp - self.start
        if self.last is None:
            time = max(time, Fraction(0)) if time <= MAX_GAP_S else follow
        elif time < self.last - RESET_S or time > self.last + MAX_GAP_S:
            self.start += time - follow
            self.jumps += 1
            time = follow
        else:
            time = max(time, self.last)
        self.last = time
        return time
