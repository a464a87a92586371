"""Where there is speech: the network equals its original, and ticks come out right on real and on made sounds."""

import csv
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from synclip_core.media.audio import read_audio
from synclip_core.media.speech import SpeechStream, speech_mask
from synclip_core.media.speech.mask import BEFORE, WINDOW, by_tick
from synclip_core.media.speech.network import probabilities

REFERENCE = Path(__file__).parents[2] / "data" / "silero_vad.npz"  # tools/convert_silero.py: the original's answers
RATE, TICK = 16000, 640
CLIPS = ("grid_s1/bbaf3s.mp4", "talk/Talking-Face_PC-AVS_e0a04a98.mp4")


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """4 s of speech after 0.4 s of silence."""
    return np.load(REFERENCE)["sound"].astype(np.float32) / 32767


def answers(sound: np.ndarray) -> np.ndarray:
    windows = -(-len(sound) // WINDOW)
    padded = np.pad(sound, (BEFORE, windows * WINDOW - len(sound)))
    views = np.lib.stride_tricks.sliding_window_view(padded, BEFORE + WINDOW)[::WINDOW]
    return probabilities(np.ascontiguousarray(views, np.float32), None)[0]


def in_pieces(sound: np.ndarray, sizes: list[int]) -> np.ndarray:
    stream = SpeechStream()
    for piece in np.split(sound, np.cumsum(sizes)):
        stream.push(piece)
    return stream.finish()


def test_network_equals_the_original(voice: np.ndarray) -> None:
    assert np.abs(answers(voice) - np.load(REFERENCE)["probability"]).max() < 1e-4


@pytest.mark.parametrize("clip", CLIPS)
def test_network_equals_the_original_on_a_real_voice(clip: str, data_dir: Path) -> None:
    want = np.load(REFERENCE)[Path(clip).name]
    assert np.abs(answers(read_audio(data_dir / clip)) - want).max() < 1e-4
    assert want.max() > 0.9


def test_answers_do_not_depend_on_how_the_sound_is_cut(voice: np.ndarray) -> None:
    sound = np.tile(voice, 6)  # 24 s: more than two blocks of the network
    whole = in_pieces(sound, [])
    assert len(whole) == 600 and 0.3 < (whole > 0.5).mean() < 1
    assert np.array_equal(whole, in_pieces(sound, [1, 0, 511, 640, 163840, 7]))
    assert np.array_equal(whole, in_pieces(sound, [160000, 160000]))


def test_windows_become_ticks_by_their_overlap() -> None:
    assert np.allclose(by_tick(np.array([1.0, 0, 0, 0, 1]), 4), [0.8, 0, 0, 0.8])
    assert np.allclose(by_tick(np.ones(3), 2), 1)


def test_words_are_found_where_they_are(voice: np.ndarray) -> None:
    """Silence before, between and after does not move or hide them."""
    silence = np.zeros(5 * RATE, np.float32)
    mask = speech_mask(np.concatenate([silence, voice, silence, voice, silence]))
    alone = speech_mask(voice)
    assert alone[:8].sum() == 0 and alone[12:].mean() > 0.8
    assert not mask[:130].any() and not mask[235:350].any() and not mask[455:].any()
    for start in (125, 350):
        assert (mask[start : start + 100] == alone).mean() > 0.95


def test_speech_against_grid_word_times(data_dir: Path) -> None:
    """Real speech with aligned words: at least 88 % of word ticks found, at most 4 % of the rest taken for speech."""
    words: dict[str, list[dict[str, str]]] = {}
    with open(data_dir / "grid_s1_align.csv", newline="") as lines:
        for row in csv.DictReader(lines):
            words.setdefault(row["file"], []).append(row)
    counts = np.zeros((2, 2))
    for file in sorted(words)[:15]:
        mask = speech_mask(read_audio(data_dir / "grid_s1" / file))
        truth = np.zeros(len(mask), bool)
        for row in words[file]:
            if row["word"] not in ("sil", "sp"):
                truth[round(float(row["start_s"]) * 25) : round(float(row["end_s"]) * 25)] = True
        np.add.at(counts, (truth.astype(int), mask.astype(int)), 1)
    assert counts[1, 1] / counts[1].sum() > 0.88
    assert counts[0, 1] / counts[0].sum() < 0.04


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_a_quiet_voice_is_a_voice(voice: np.ndarray, level: float) -> None:
    assert (speech_mask(level * voice) == speech_mask(voice)).mean() > 0.9


def chords(seconds: float) -> np.ndarray:
    """Plucked chords that change twice a second: loud and far over the pauses between them."""
    time = np.arange(round(seconds * RATE)) / RATE
    root = 220 * 2 ** (np.array([0, 5, 7, 3])[(time * 2).astype(int) % 4] / 12)
    tones = sum(np.sin(2 * np.pi * k * root * time) / k for k in (1, 1.26, 1.5, 2, 3, 4))
    return (0.1 * tones * np.exp(-3 * (time % 0.5))).astype(np.float32)


def test_no_speech_in_silence_noise_tone_or_music() -> None:
    generator = np.random.default_rng(0)
    tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(48000) / RATE)
    noise = 0.1 * generator.standard_normal(48000)
    for wave in (np.zeros(48000), noise, tone, chords(20), np.full(48000, np.nan), np.zeros(100)):
        assert not speech_mask(wave.astype(np.float32)).any()
    assert len(speech_mask(np.zeros(0, np.float32))) == 0
    assert len(speech_mask(np.zeros(641, np.float32))) == 2


def test_music_under_a_voice_does_not_fill_its_pauses(voice: np.ndarray) -> None:
    sound = np.concatenate([np.zeros(6 * RATE, np.float32), voice, np.zeros(6 * RATE, np.float32)])
    mask = speech_mask(sound + 0.5 * chords(16))
    assert mask[:150].mean() < 0.05 and mask[165:245].mean() > 0.75 and mask[260:].mean() < 0.05


def test_a_loud_start_does_not_hide_a_quiet_end(voice: np.ndarray) -> None:
    wave = np.concatenate([np.tile(voice, 10), np.zeros(60 * RATE, np.float32), 0.1 * np.tile(voice, 10)])
    wave += 1e-5 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    mask = speech_mask(wave)
    assert mask[:1000].mean() > 0.7 and mask[2500:].mean() > 0.7 and mask[1010:2500].mean() < 0.02


def test_a_long_sound_takes_little_memory_and_little_time(voice: np.ndarray) -> None:
    """2 minutes, pushed in pieces of 10 s."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    piece = np.tile(voice, 3)[: 10 * RATE]
    stream = SpeechStream()
    stream.push(piece)
    tracemalloc.start()
    start = time.process_time()
    for _ in range(12):
        stream.push(piece)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    torch.set_num_threads(threads)
    assert peak < 10e6
    assert seconds < 0.01 * 120  # 0.003 on an idle core
