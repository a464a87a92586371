"""Speech with known timing from the espeak-ng library (Debian: espeak-ng): the sound and when each phoneme begins."""

import ctypes

import numpy as np

from synclip_core.demo.visemes import Phoneme
from synclip_core.errors import SyncLipError

_RETRIEVAL, _PHONEME_EVENTS, _UTF8, _RATE = 2, 1, 1, 1
_EVENT_END, _EVENT_PHONEME = 0, 7


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(text: str, voice: str = "en-us", words_per_minute: int = 150) -> tuple[np.ndarray, int, list[Phoneme]]:
    """Returns the sound int16 [N], its rate, and the phonemes in order; pauses are named "_" or "_:".

    Raises SyncLipError when the library or the voice is missing. The library keeps global state: one call at a time.
    """
    try:
        lib = ctypes.CDLL("libespeak-ng.so.1")
    except OSError as error:
        raise SyncLipError("libespeak-ng.so.1 was not found: install espeak-ng (apt-get install espeak-ng)") from error
    sound, starts = bytearray(), []

    def collect(wave: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        if wave and count > 0:
            sound.extend(ctypes.string_at(wave, 2 * count))
        i = 0
        while events[i].type != _EVENT_END:
            if events[i].type == _EVENT_PHONEME:
                name = bytes(events[i].id.string).split(b"\0")[0].decode("utf-8", "replace")
                starts.append((name, events[i].sample))
            i += 1
        return 0

    callback = _CALLBACK(collect)
    rate = lib.espeak_Initialize(_RETRIEVAL, 0, None, _PHONEME_EVENTS)
    lib.espeak_SetSynthCallback(callback)
    if rate <= 0 or lib.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SyncLipError(f"espeak-ng has no voice {voice!r}: `espeak-ng --voices` lists what it has")
    lib.espeak_SetParameter(_RATE, words_per_minute, 0)
    data = text.encode() + b"\0"
    lib.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None)
    lib.espeak_Synchronize()
    wave = np.frombuffer(bytes(sound), np.int16)
    ends = [sample for _, sample in starts[1:]] + [len(wave)]
    phonemes = [Phoneme(name, s / rate, e / rate) for (name, s), e in zip(starts, ends, strict=True) if e > s]
    return wave, rate, phonemes
