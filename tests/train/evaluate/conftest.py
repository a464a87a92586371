"""The fake clips' sound is noise in syllables, which no detector takes for speech: here what is loud is spoken."""

from collections.abc import Iterator

import numpy as np
import pytest

from synclip_core.clock import TICK


def loud(waveform: np.ndarray) -> np.ndarray:
    """bool [ceil(N / 640)]: ticks louder than -46 dB."""
    padded = np.pad(waveform, (0, -len(waveform) % TICK))
    return np.sqrt(np.square(padded.reshape(-1, TICK)).mean(1)) > 0.005


@pytest.fixture(autouse=True, scope="module")
def what_is_loud_is_spoken() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.sync.tokens.speech_mask", loud)
        yield
