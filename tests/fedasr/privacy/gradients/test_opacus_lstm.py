"""Our LSTM under Opacus: the function of nn.LSTM, and Opacus' per-sample gradients of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedasr.privacy.gradients.bookkeeping import BookKeeper
from tests.fedasr.privacy.gradients.references import one_by_one, relative
from tests.needs import needs

needs("opacus", "opacus is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook")


class Net(nn.Module):
    def __init__(self, lstm: nn.Module) -> None:
        super().__init__()
        self.lstm = lstm
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, (h, c) = self.lstm(x)
        return self.head(y).sin().sum((1, 2)) + h[0].sum(1) + 0.3 * c[0].sum(1)


@pytest.fixture(params=["torch", "auto"])
def nets(request: pytest.FixtureRequest) -> tuple[Net, Net]:
    """nn.LSTM, and ours with the same weights."""
    from fedasr.privacy.gradients.opacus_lstm import OpacusLSTM

    torch.manual_seed(2)
    plain, ours = Net(nn.LSTM(4, 5, batch_first=True)), Net(OpacusLSTM(4, 5, request.param))
    with torch.no_grad():
        for a, b in zip(plain.parameters(), ours.parameters(), strict=True):
            b.copy_(a)
    return plain, ours


def test_a_plain_layer(nets: tuple[Net, Net]) -> None:
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    losses = [net(x) for net in nets]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss.sum(), net.parameters()) for loss, net in zip(losses, nets, strict=True)]
    for wanted, result in zip(*gradients, strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-6)


def test_per_sample_gradients_under_hooks(nets: tuple[Net, Net]) -> None:
    from opacus import GradSampleModule

    plain, ours = nets
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    wanted = one_by_one(plain, lambda row: plain(x[row : row + 1])[0], 3)
    wrapped = GradSampleModule(ours, loss_reduction="sum")
    wrapped(x).sum().backward()
    result = torch.cat([p.grad_sample.flatten(1) for p in ours.parameters()], dim=1)
    assert relative(result, wanted) < 1e-5
    assert relative(BookKeeper(plain).gradients(lambda: plain(x)).samples(), result) < 1e-5


def test_fast_gradient_clipping(nets: tuple[Net, Net]) -> None:
    """Two backward passes over the same graph."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    plain, ours = nets
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    rows = one_by_one(plain, lambda row: plain(x[row : row + 1])[0], 3)
    wrapped = GradSampleModuleFastGradientClipping(ours, max_grad_norm=1.0, loss_reduction="sum")
    losses = wrapped(x)
    losses.sum().backward(retain_graph=True)
    torch.testing.assert_close(wrapped.get_norm_sample(), rows.norm(dim=1), rtol=1e-5, atol=1e-6)
    factors = wrapped.get_clipping_coef()
    for parameter in ours.parameters():
        parameter.grad = None
    wrapped.disable_hooks()
    (losses * factors).sum().backward()
    result = torch.cat([p.grad.flatten() for p in ours.parameters()])
    assert relative(result, factors @ rows) < 1e-5
