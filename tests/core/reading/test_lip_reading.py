"""From tokens to words: windows, joins, times, confidence, subtitles, and what a reader file refuses."""

import json

import numpy as np
import pytest
import torch

from synclip_core import cli
from synclip_core.demo import CLIP
from synclip_core.errors import SyncLipError
from synclip_core.reading.network import LipReader, VsrConfig
from synclip_core.reading.read import OVERLAP_S, _windows, read_lips
from synclip_core.reading.reader_file import Reader, load_reader, save_reader
from synclip_core.reading.transcript import Transcript, Word

UNITS = tuple(" abc")
DIM = len(UNITS) + 1


class Mirror(LipReader):
    """Reads what is written into its tokens: the largest entry of a token is the class of its tick."""

    def __init__(self, window_s=4.0):
        super().__init__(
            VsrConfig(units=UNITS, dim=DIM, width=8, heads=1, layers=0, decoder_layers=1, upsample=1, window_s=window_s)
        )

    def encode(self, tokens, valid):
        return tokens

    def ctc_log_probs(self, hidden):
        return (8 * hidden).log_softmax(-1)

    def next_log_probs(self, hidden, rows, before):
        return torch.full((*before.shape, DIM), -np.log(DIM))


def tokens(text, ticks_a_unit=3):
    """Each unit for some ticks, a blank between two."""
    classes = [0]
    for letter in text:
        classes += [UNITS.index(letter) + 1] * ticks_a_unit + [0]
    return np.eye(DIM, dtype=np.float32)[classes]


def reader(**options):
    return Reader(Mirror(**options).eval(), "abc123", {"search": {"ctc_weight": 1.0, "beam": 4}, "reads": "abc"})


def test_words_and_their_times():
    vocal = tokens("ab ca")
    found = read_lips(reader(), vocal, np.ones(len(vocal), bool))
    assert found.text == "ab ca" and found.verdict == "read" and found.confidence > 0.9
    # ab: ticks 1 to 8, ca: ticks 13 to 20
    assert [(w.start_s, w.end_s) for w in found.words] == [(1 / 25, 8 / 25), (13 / 25, 20 / 25)]


def test_a_long_clip_is_read_as_a_short_one():
    """Forty seconds in windows of four: every word once, where it was said."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abc"), rng.integers(2, 5))) for _ in range(60)]
    vocal = tokens(" ".join(words))
    assert len(vocal) > 25 * 30
    found = read_lips(reader(), vocal, np.ones(len(vocal), bool))
    wrong = sum(a != b for a, b in zip(found.text.split(), words, strict=False)) + abs(len(found.words) - len(words))
    assert wrong == 0, found.text
    starts = [word.start_s for word in found.words]
    assert starts == sorted(starts)
    assert found.words[-1].end_s == pytest.approx((len(vocal) - 1) / 25, abs=0.05)


def test_windows_cover_the_face_and_overlap():
    valid = np.zeros(1000, bool)
    valid[100:700] = valid[800:803] = valid[900:950] = True
    valid[300:304] = False  # a blink of the tracker does not end a stretch
    windows = _windows(valid, 100)
    assert windows[0][0] == 100 and windows[-1] == (900, 950)
    long = [w for w in windows if w[1] <= 700]
    assert all(b - a <= 100 for a, b in long) and long[-1][1] == 700
    assert all(a[1] - b[0] == round(OVERLAP_S * 25) for a, b in zip(long[:-2], long[1:-1], strict=True))
    assert _windows(np.zeros(50, bool), 100) == []


def test_no_face_and_a_still_mouth_read_as_nothing():
    vocal = tokens("abc")
    found = read_lips(reader(), vocal, np.zeros(len(vocal), bool))
    assert (found.verdict, found.text, found.confidence, found.note) == ("nothing", "", None, "no face was found")
    still = np.eye(DIM, dtype=np.float32)[np.zeros(50, int)]
    assert read_lips(reader(), still, np.ones(50, bool)).verdict == "nothing"
    assert read_lips(reader(), still[:1], np.ones(1, bool)).verdict == "nothing"
    assert read_lips(reader(), still[:0], np.ones(0, bool)).verdict == "nothing"


def test_an_unsure_reading_says_so():
    vocal = tokens("ab ca") * 0.2
    sceptic = reader()
    sceptic.metadata["min_confidence"] = 0.9
    found = read_lips(sceptic, vocal, np.ones(len(vocal), bool))
    assert found.verdict == "unsure" and found.confidence < 0.9 and "reads abc" in found.note


def test_subtitles():
    said = [Word("one", 0.2, 0.5, 1), Word("two", 0.6, 0.9, 1), Word("three", 3661.5, 3661.9, 1)]
    assert Transcript("a.mp4", "read", said).to_srt() == (
        "1\n00:00:00,200 --> 00:00:00,900\none two\n\n2\n01:01:01,500 --> 01:01:01,900\nthree\n\n"
    )
    line = [Word("word" * 3, k * 0.3, k * 0.3 + 0.3, 1) for k in range(20)]
    cues = Transcript("", "read", line).cues()
    assert sum(map(len, cues)) == 20
    assert all(len(" ".join(w.text for w in cue)) <= 42 and cue[-1].end_s - cue[0].start_s <= 6 for cue in cues)
    assert Transcript("", "nothing").to_srt() == ""


def test_a_reader_file_keeps_the_reader(tmp_path):
    torch.manual_seed(0)
    network = LipReader(
        VsrConfig(units=("a", "b"), dim=8, width=16, heads=2, layers=1, kernel=3, decoder_layers=1)
    ).eval()
    save_reader(tmp_path / "r.safetensors", Reader(network, "sha", {"reads": "ab", "min_confidence": 0.4}))
    back = load_reader(tmp_path / "r.safetensors")
    assert back.model == "sha" and back.min_confidence == 0.4 and back.network.config == network.config
    x = torch.randn(1, 9, 8)
    with torch.inference_mode():
        want = network.encode(x, torch.ones(1, 9, dtype=torch.bool))
        torch.testing.assert_close(
            back.network.encode(x, torch.ones(1, 9, dtype=torch.bool)), want, atol=5e-3, rtol=5e-3
        )
    with pytest.raises(SyncLipError, match="trained on the tokens of checkpoint sha"):
        back.check("another")


def test_other_files_are_no_readers(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "x.safetensors").write_bytes(b"none")
    with pytest.raises(SyncLipError, match="not a safetensors file"):
        load_reader(tmp_path / "x.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors", {"format": "synclipmae-1"})
    with pytest.raises(SyncLipError, match="holds no lip reader"):
        load_reader(tmp_path / "x.safetensors")
    save_file(
        {"w": torch.zeros(1)},
        tmp_path / "x.safetensors",
        {"format": "synclip-reader-1", "config": "{}", "model": "m", "metadata": "{}"},
    )
    with pytest.raises(SyncLipError, match="damaged lip reader"):
        load_reader(tmp_path / "x.safetensors")


# ---- the command -------------------------------------------------------------------------------------------------


def test_transcribe_reads_a_silent_video_and_writes_subtitles(tmp_path, capsys, monkeypatch):
    """The demo head says no command of GRID: the reader is unsure, and the exit code says so."""
    monkeypatch.chdir(tmp_path)
    code = cli.main(["transcribe", str(CLIP), "gone.mp4", "--json", "--srt", "said.srt"])
    first, second = json.loads(capsys.readouterr().out)
    assert code == 4 and second["verdict"] == "error" and "gone.mp4" in second["note"]
    assert first["verdict"] in ("unsure", "read") and first["duration_s"] == pytest.approx(11.28)
    assert first["text"] == " ".join(word["text"] for word in first["words"])
    assert (tmp_path / f"said-{CLIP.stem}.srt").read_text().startswith("1\n00:")


def test_transcribe_says_a_line_a_file(capsys, tmp_path):
    assert cli.main(["transcribe", str(CLIP), "gone.mp4"]) == 4
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{CLIP}: ") and "(confidence 0." in first and "51 words of GRID" in first
    assert second.startswith("gone.mp4: no such file") and second.count("gone.mp4") == 1
