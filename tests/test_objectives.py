"""The losses against naive loops and closed forms."""

import math

import torch

from synclip_core.models.vsr import LipReader, VsrConfig
from synclip_core.objectives.contrastive import contrastive_loss, positive_set
from synclip_core.objectives.decorrelation import decorrelation_loss
from synclip_core.objectives.lip_reading import LipReadingLoss
from synclip_core.objectives.reconstruction import reconstruction_loss


def test_contrastive_loss_equals_the_double_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 12, generator=generator)
    positive = torch.eye(12, dtype=torch.bool) | (torch.rand(12, 12, generator=generator) < 0.1)
    ignore = torch.rand(12, 12, generator=generator) < 0.2
    expected = 0.0
    for matrix, pos, ign in ((logits, positive, ignore), (logits.T, positive.T, ignore.T)):
        for i in range(12):
            mass = sum(math.exp(matrix[i, j]) for j in range(12) if pos[i, j])
            total = sum(math.exp(matrix[i, j]) for j in range(12) if pos[i, j] or not ign[i, j])
            expected -= math.log(mass / total) / 24
    assert abs(float(contrastive_loss(logits, positive, ignore)) - expected) < 1e-5


def test_contrastive_loss_of_a_constant_is_ln_n() -> None:
    assert abs(float(contrastive_loss(torch.zeros(64, 64), torch.eye(64, dtype=torch.bool))) - math.log(64)) < 1e-5


def test_positive_set_holds_neighbours_and_same_sounds() -> None:
    clip, frame = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 1])
    sound = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.01, 1.0]])
    near = positive_set(clip, frame, sound, 1, 2.0)
    assert near.tolist() == [
        [True, True, False, False],
        [True, True, True, False],
        [False, True, True, False],
        [False, False, False, True],
    ]
    alike = positive_set(clip, frame, sound, 0, 0.99)
    assert alike[1, 3] and alike[3, 1] and not alike[0, 1]


def test_decorrelation_is_zero_for_unrelated_and_known_for_equal_factors() -> None:
    a = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    b = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    assert float(decorrelation_loss(a, b)) == 0.0
    assert abs(float(decorrelation_loss(a, a)) - (4 / 3) ** 2) < 1e-6
    assert abs(float(decorrelation_loss(a + 5, a)) - (4 / 3) ** 2) < 1e-5  # centred


def test_reconstruction_counts_hidden_patches_only() -> None:
    target, predicted = torch.zeros(1, 4, 3), torch.zeros(1, 4, 3)
    predicted[0, 0] = 9.0  # visible: free
    predicted[0, 1] = 1.0
    assert abs(float(reconstruction_loss(predicted, target, torch.tensor([[0]]))) - 1 / 3) < 1e-6


def test_a_frozen_reader_pulls_tokens_towards_its_text() -> None:
    torch.manual_seed(0)
    config = VsrConfig(units=("a", "b", "c"), dim=8, width=16, heads=2, layers=1, kernel=3, decoder_layers=1)
    loss = LipReadingLoss(LipReader(config)).train()
    before = {name: tensor.clone() for name, tensor in loss.reader.state_dict().items()}
    tokens = torch.nn.Parameter(torch.randn(1, 6, 8))
    valid, texts = torch.ones(1, 6, dtype=torch.bool), [torch.tensor([1, 3, 2])]
    optimizer = torch.optim.Adam([tokens, *loss.parameters()], lr=0.05)
    first = loss(tokens, valid, texts)
    torch.testing.assert_close(first, loss(tokens, valid, texts))  # no dropout
    for _ in range(30):
        optimizer.zero_grad()
        loss(tokens, valid, texts).backward()
        optimizer.step()
    assert loss(tokens, valid, texts).item() < 0.98 * first.item()  # a reader that knows nothing hardly looks
    assert all(torch.equal(before[name], tensor) for name, tensor in loss.reader.state_dict().items())
