"""An AudioPack learns to answer other tokens as it answered its own."""

import copy

import pytest
import torch

from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig
from synclip_core.errors import SyncLipError
from train.dubbing.move_pack import FRAMES, Pairs, explained, teach
from train.dubbing.tokens import ClipTokens


@pytest.fixture(scope="module")
def pack():
    torch.manual_seed(0)
    found = AudioPack(AudioPackConfig(width=32, token_dim=16, hidden=48, depth=1, kernel=3)).eval()
    torch.nn.init.normal_(found.project.weight, std=0.1)
    return found.requires_grad_(True)


def tokens(turn, count=12):
    """Of `count` clips, turned by a matrix."""
    torch.manual_seed(1)
    found = {}
    for number in range(count):
        frames = FRAMES + 10 * number
        x = torch.nn.functional.normalize(torch.randn(frames, 16), dim=-1) @ turn
        seen = torch.ones(frames, dtype=torch.bool)
        seen[:3] = False
        none = torch.zeros(frames, 1)
        found[f"clip{number}"] = ClipTokens(x.half(), x.half(), seen, seen, none, none)
    return found


def test_a_pack_answers_turned_tokens_as_it_answered_its_own(pack):
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2))).Q
    pairs = [Pairs(tokens(torch.eye(16)), tokens(turn), *stream) for stream in (("audio", "heard"), ("vocal", "seen"))]
    untaught = copy.deepcopy(pack)
    assert explained(pack, untaught, pairs[0]) < 0.3
    taught = teach(pack, pairs, 20, 0)
    assert min(explained(pack, taught, own) for own in pairs) > 0.9
    torch.testing.assert_close(taught.project.weight, pack.project.weight, rtol=0, atol=0)
    again = teach(pack, pairs, 20, 0)
    torch.testing.assert_close(again.embed.weight, taught.embed.weight, rtol=0, atol=0)


def test_nothing_to_learn_from_is_an_error():
    short = {"a": ClipTokens(*(torch.zeros(FRAMES - 1, 16) for _ in range(6)))}
    with pytest.raises(SyncLipError, match="frames and more"):
        Pairs(short, short, "audio", "heard")
