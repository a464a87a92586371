"""The speech detector: Silero VAD (Silero Team, MIT), sound in, probability of speech out (weights/SPEECH.md).

16 kHz, a window of 512 samples (32 ms) at a time, each with the 64 samples before it; an LSTM carries what was heard.
The original answers window by window. Here the windows of a block go through the layers together, and the LSTM along
them.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...files.safetensors_file import read_safetensors

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "silero_vad.safetensors"
_FFT, _HOP, _AFTER = 256, 128, 64  # of the spectrum; its last frame ends in the window's own end, mirrored
_BINS, _WIDTH = _FFT // 2 + 1, 128

State = tuple[Tensor, Tensor]


class SpeechNetwork(nn.Module):
    """Spectrum (a convolution with the Fourier basis), four convolutions over its four frames, LSTM, one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 2 * _BINS, _FFT, _HOP, bias=False)
        self.encoder = nn.Sequential(
            nn.Conv1d(_BINS, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(128, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, _WIDTH, 3, padding=1),
            nn.ReLU(),
        )
        self.memory = nn.LSTM(_WIDTH, _WIDTH)
        self.answer = nn.Linear(_WIDTH, 1)

    def forward(self, windows: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """windows: [n, 64 + 512], one after the other. Returns probabilities [n] and the state to go on with."""
        waves = self.spectrum(F.pad(windows[:, None], (0, _AFTER), mode="reflect"))
        magnitude = (waves[:, :_BINS].square() + waves[:, _BINS:].square()).sqrt()
        heard, state = self.memory(self.encoder(magnitude)[..., 0], state)
        return self.answer(heard.relu())[:, 0].sigmoid(), state


@cache
def bundled_network() -> SpeechNetwork:
    """Of synclip_core/weights, loaded once a process. It runs on the CPU."""
    network = SpeechNetwork()
    network.load_state_dict(read_safetensors(WEIGHTS, expected="the speech detector")[0])
    return network.eval()


@torch.inference_mode()
def probabilities(windows: np.ndarray, state: State | None) -> tuple[np.ndarray, State]:
    """windows: float32 [n, 576]. Returns float32 [n] and the state to go on with."""
    found, state = bundled_network()(torch.from_numpy(windows), state)
    return found.numpy(), state
