"""A trained lip reader as a judge that does not learn (SyncTalklip, equation 4 and section 3.3)."""

from torch import Tensor, nn

from ..reading.network import LipReader, hybrid_loss


class LipReadingLoss(nn.Module):
    """How badly a given text can be read off vocal tokens. Gradients reach the tokens, never the reader.

    ctc_weight: 0 is the paper's loss, the decoder's cross entropy alone.
    """

    def __init__(self, reader: LipReader, ctc_weight: float = 0.0) -> None:
        super().__init__()
        self.reader, self.ctc_weight = reader.eval().requires_grad_(False), ctc_weight

    def train(self, mode: bool = True) -> "LipReadingLoss":
        """Frozen also means: no dropout."""
        return super().train(False)

    def forward(self, tokens: Tensor, valid: Tensor, texts: list[Tensor]) -> Tensor:
        """tokens: [B, T, dim], L2-normalised; valid: [B, T] bool; texts: units as in `hybrid_loss`; a scalar."""
        return hybrid_loss(self.reader, tokens, valid, texts, self.ctc_weight, smoothing=0.0)[0]
