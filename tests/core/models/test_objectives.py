"""The losses against naive loops and closed forms."""

import math

import pytest
import torch

from synclip_core.objectives.contrastive import contrastive_loss, positive_set
from synclip_core.objectives.decorrelation import CrossCovariance, cross_correlation, decorrelation_loss, redundancy
from synclip_core.objectives.identity import identity_contrast
from synclip_core.objectives.lip_reading import LipReadingLoss
from synclip_core.objectives.reconstruction import reconstruction_loss
from synclip_core.objectives.steadiness import between_share, within_share
from synclip_core.reading.network import LipReader, VsrConfig


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
    assert abs(float(decorrelation_loss(a, a)) - 1) < 1e-6
    assert abs(float(decorrelation_loss(a + 5, a)) - 1) < 1e-5  # centred


def test_decorrelation_of_many_dimensions_counts_what_is_shared() -> None:
    """D for a copy, D * D / N of chance for independent ones, in between for a share; whatever the scale."""
    count, dim = 4096, 16
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(count, dim, generator=generator).double() for _ in range(2))
    a = torch.linalg.qr(a - a.mean(0)).Q  # whitened: columns of mean 0 that do not vary together
    b = b / b.std(0)
    apart, half, same = (float(decorrelation_loss(a, x)) for x in (b, a / a.std(0) + b, a))
    assert same == pytest.approx(dim, rel=1e-6)
    assert apart == pytest.approx(dim * dim / count, rel=0.25)
    assert half == pytest.approx(dim / 2, rel=0.05)
    for one, two in ((1000 * a, b), (a, b * 1000), (a + 7, b - 3)):
        assert float(decorrelation_loss(one, two)) == pytest.approx(apart, rel=1e-6)
    three = float(decorrelation_loss(a, b, a))  # all pairs
    assert three == pytest.approx(2 * apart + same, rel=1e-6)


def test_tokens_near_a_line_count_no_more_than_tokens_of_many_dimensions() -> None:
    """Two copies are D, whether their dimensions say D things or one; and what is apart stays apart."""
    generator = torch.Generator().manual_seed(0)
    line = torch.randn(512, 1, generator=generator) + 0.05 * torch.randn(512, 16, generator=generator)
    other = torch.randn(512, 16, generator=generator)
    assert float(decorrelation_loss(line, line)) == pytest.approx(16, rel=1e-5)
    assert float(decorrelation_loss(line, -line[:, torch.randperm(16)])) == pytest.approx(16, rel=0.02)
    assert float(decorrelation_loss(line, other)) < 1


def test_a_column_that_does_not_vary_is_related_to_nothing() -> None:
    flat = torch.full((8, 3), 2.0, requires_grad=True)
    loss = decorrelation_loss(flat, torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    loss.backward()
    assert float(loss) == 0 and torch.isfinite(flat.grad).all()


def test_the_running_cross_covariance_is_that_of_many_steps() -> None:
    """Few frames a step agree by chance; the mean over steps does not. Nothing is remembered before `commit`."""
    generator, dim, frames = torch.Generator().manual_seed(0), 8, 32

    def step(shared: float) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = (torch.randn(frames, dim, generator=generator) for _ in range(2))
        return a, shared * a + (1 - shared**2) ** 0.5 * b

    memory = CrossCovariance(dim, 1, 0.99)
    first = step(0.0)
    assert float(memory(*first)) == pytest.approx(float(decorrelation_loss(*first)), rel=1e-5)  # there is no past yet
    assert float(memory(*first)) == pytest.approx(float(decorrelation_loss(*first)), rel=1e-5) and memory.steps == 0
    memory.commit()
    for _ in range(99):
        memory(*step(0.0))
        memory.commit()
    assert memory.steps == 100
    chance = float(memory(*step(0.0)))
    assert chance < 0.1 * dim * dim / frames
    related = CrossCovariance(dim, 1, 0.99)
    for _ in range(100):
        told = related(*step(0.5))
        related.commit()
    assert float(told) == pytest.approx(0.25 * dim, rel=0.3)
    memory.commit(), memory.commit()
    assert memory.steps == 101  # a second commit has nothing to remember


def test_the_gradient_of_the_running_cross_covariance_goes_through_this_step_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    memory = CrossCovariance(4, 1, 0.9)
    for _ in range(30):
        a = torch.randn(16, 4, generator=generator)
        memory(a, a + torch.randn(16, 4, generator=generator))
        memory.commit()
    a, b = (torch.randn(16, 4, generator=generator).double().requires_grad_() for _ in range(2))
    memory = memory.double()
    past = memory.mean.clone()
    memory(a, b).backward()
    # d/da of the squared norm of M = 0.9 past + 0.1 own, at the size that a steady own would give it: <2 M, d own>
    own = cross_correlation(a, b)
    mixed = (0.9 * past[0] + 0.1 * own).detach()
    (want,) = torch.autograd.grad((2 * redundancy(a, b) * mixed * own).sum(), a)
    torch.testing.assert_close(a.grad, want)
    assert float(want.abs().max()) > 1e-3 and torch.equal(memory.mean, past) and not memory.mean.requires_grad


def test_identity_contrast_is_low_where_a_person_stays_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    faces = torch.randn(4, 8, generator=generator)
    person = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    tokens = faces[person] + 0.1 * torch.randn(8, 8, generator=generator)
    right, wrong = identity_contrast(tokens, person), identity_contrast(tokens, person.roll(1))
    assert 0 <= float(right) < 0.1 < 2 < float(wrong)
    assert float(identity_contrast(50 * tokens, person)) == pytest.approx(float(right), rel=1e-5)  # directions alone
    # who stands alone does not ask, but is somebody that others can be mistaken for
    alone = torch.cat([tokens, -tokens[:1]])
    assert float(identity_contrast(alone, torch.cat([person, person.new_tensor([9])]))) == pytest.approx(
        float(right), abs=1e-3
    )
    assert float(identity_contrast(tokens, torch.arange(8))) == 0
    # the double loop
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    want = 0.0
    for i in range(8):
        others = [j for j in range(8) if j != i]
        total = sum(math.exp(float(unit[i] @ unit[j]) / 0.1) for j in others)
        same = [j for j in others if person[j] == person[i]]
        want -= sum(float(unit[i] @ unit[j]) / 0.1 - math.log(total) for j in same) / len(same) / 8
    assert float(right) == pytest.approx(want, rel=1e-4)


def test_reconstruction_counts_as_its_weights_say() -> None:
    target, predicted, keep = torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), torch.tensor([[0]])
    predicted[0, 0], predicted[0, 1], predicted[0, 2] = 9.0, 1.0, 2.0
    weight = torch.tensor([[5.0, 3.0, 1.0, 1.0]])
    assert float(reconstruction_loss(predicted, target, keep, weight)) == pytest.approx((3 * 1 + 4) / 5)


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


def test_all_parts_of_a_step_are_remembered_and_none_of_a_skipped_one() -> None:
    """A step's batch may come in parts (optim.accumulate), and a step whose gradient is not finite is left out."""
    torch.manual_seed(0)
    parts = [(torch.randn(64, 3), torch.randn(64, 3)) for _ in range(2)]
    together, broken = CrossCovariance(3, 1, 0.9), CrossCovariance(3, 1, 0.9)
    for part in parts:
        together(*part)
    together.commit()
    want = torch.stack([cross_correlation(*part) for part in parts]).mean(0)
    torch.testing.assert_close(together.mean[0], want)
    broken(torch.full((64, 3), float("nan")), parts[0][1])
    broken.forget()
    broken(*parts[0])
    broken.commit()
    torch.testing.assert_close(broken.mean[0], cross_correlation(*parts[0]))


def test_shares_of_variance_tell_what_stays_from_what_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    person = torch.randn(6, 1, 4, generator=generator).expand(-1, 40, -1)
    motion = torch.randn(6, 40, 4, generator=generator)
    motion = motion - motion.mean(1, keepdim=True)
    counts = torch.ones(6, 40, dtype=torch.bool)
    assert float(within_share(person, counts)) < 1e-6 and float(between_share(motion, counts)) < 1e-6
    assert float(within_share(motion, counts)) == pytest.approx(1)
    for scale in (1.0, 100.0):  # whatever the scale, the two shares are one whole
        mixed = scale * (person + motion) + 3
        both = float(within_share(mixed, counts)), float(between_share(mixed, counts))
        assert sum(both) == pytest.approx(1) and 0.2 < both[0] < 0.8
    counts[:, 30:] = False  # frames without a face change nothing
    wild = torch.cat([person[:, :30], 1e3 * motion[:, 30:]], 1)
    assert float(within_share(wild, counts)) < 1e-6
    flat = torch.zeros(6, 40, 4, requires_grad=True)
    within_share(flat, counts).backward()
    assert torch.isfinite(flat.grad).all()
