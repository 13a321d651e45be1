"""The recurrence in PyTorch and in C++, against nn.LSTM; and the compiler that may not be there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fedasr.errors import InputError
from fedasr.privacy.gradients import compiled, recurrence
from fedasr.privacy.gradients.recurrence import choose, run, run_back, unrolled
from tests.tiers import examples

needs_compiler = pytest.mark.skipif(compiled.find_compiler() is None, reason="no C++ compiler")
BOTH = ["torch", pytest.param("compiled", marks=needs_compiler)]


@pytest.mark.parametrize("how", BOTH)
@settings(max_examples=examples(40), deadline=None)
@given(
    batch=st.integers(1, 19),
    time=st.integers(1, 6),
    inputs=st.integers(1, 4),
    hidden=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_states_and_gradients_are_those_of_nn_lstm(
    how: str, batch: int, time: int, inputs: int, hidden: int, seed: int
) -> None:
    """Sizes that fill no panel and no tile of the compiled product, states before the first frame, both outputs."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    layer = nn.LSTM(inputs, hidden, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(normal(*parameter.shape) / math.sqrt(hidden))
    x, h0, c0 = normal(batch, time, inputs), normal(batch, hidden), normal(batch, hidden)
    weight_h, weight_c = normal(batch, time, hidden), normal(batch, hidden)

    def results(ours: bool) -> list[torch.Tensor]:
        kind = torch.float32 if ours else torch.float64
        leaves = [t.to(kind).requires_grad_() for t in (x, h0, c0)]
        layer.to(kind)
        if ours:
            bias = layer.bias_ih_l0 + layer.bias_hh_l0
            pre = F.linear(leaves[0], layer.weight_ih_l0, bias)
            hidden_states, cells = unrolled(pre, layer.weight_hh_l0, leaves[1], leaves[2], choose(how))
            last = cells[:, -1]
        else:
            hidden_states, (_, cell) = layer(leaves[0], (leaves[1].unsqueeze(0), leaves[2].unsqueeze(0)))
            last = cell[0]
        loss = (hidden_states * weight_h).sum() + (last * weight_c).sum()
        return [hidden_states.detach(), last.detach(), *torch.autograd.grad(loss, leaves)]

    for wanted, result in zip(results(False), results(True), strict=True):
        # Terms of about one may cancel in a sum, and leave the rounding of a term behind.
        error = float((result.double() - wanted).norm())
        assert error < 1e-5 * max(float(wanted.norm()), math.sqrt(wanted.numel()))


@needs_compiler
def test_the_compiled_functions_are_exact_to_a_few_units_in_the_last_place() -> None:
    """One frame, no recurrence: gates and cells over the whole range of a float, beside float64."""
    values = torch.cat([torch.linspace(-30, 30, 4001), torch.tensor([0.0, -0.0, 1e-8, -1e-8, 1e4, -1e4, 3e38, -3e38])])
    pre = torch.zeros(1, 1, 4 * len(values))
    for gate in range(4):
        pre[0, 0, gate * len(values) : (gate + 1) * len(values)] = values
    zeros = torch.zeros(1, len(values))
    states = run(pre.clone(), torch.zeros(4 * len(values), len(values)), zeros, zeros, choose("compiled"))
    gate, squashed = values.double().sigmoid(), values.double().tanh()
    i, f, g, o = states.gates[0, 0].view(4, -1).double()
    for result, wanted in ((i, gate), (f, gate), (o, gate), (g, squashed)):
        torch.testing.assert_close(result, wanted, rtol=3e-7, atol=1e-37)
    torch.testing.assert_close(states.hidden[0, 0].double(), gate * (gate * squashed).tanh(), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("how", BOTH)
def test_not_a_number_stays_with_its_sample(how: str) -> None:
    pre, weight, zeros = torch.zeros(2, 3, 8), torch.ones(8, 2), torch.zeros(2, 2)
    pre[1, 1, 4] = float("nan")
    hidden = run(pre, weight, zeros, zeros, choose(how)).hidden
    assert torch.isfinite(hidden[0]).all()
    assert torch.isnan(hidden[1, 1:]).any(1).all()


@pytest.mark.parametrize("how", BOTH)
def test_a_graph_may_be_walked_twice(how: str) -> None:
    pre = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    zeros = torch.zeros(2, 2)
    hidden, _ = unrolled(pre * 1.0, torch.ones(8, 2), zeros, zeros, choose(how))
    first = torch.autograd.grad(hidden.sum(), pre, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(hidden.sum(), pre)[0])
    assert first.abs().sum() > 0


@pytest.mark.parametrize("how", BOTH)
def test_no_frames(how: str) -> None:
    zeros = torch.zeros(2, 2)
    states = run(torch.zeros(2, 0, 8), torch.ones(8, 2), zeros, zeros, choose(how))
    assert states.hidden.shape == (2, 0, 2)
    delta, grad_h0, grad_c0 = run_back(states, torch.ones(8, 2), torch.zeros(2, 0, 2), None, choose(how))
    assert delta.shape == (2, 0, 8)
    assert not grad_h0.any()
    assert not grad_c0.any()


def test_float64_goes_through_pytorch() -> None:
    assert recurrence.usable(compiled.kernels(), torch.zeros(1, dtype=torch.float64)) is None


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, and no memory of what was found before or will be found after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.kernels.cache_clear()
    yield tmp_path / "fedasr"
    compiled.kernels.cache_clear()


@pytest.mark.thorough
@needs_compiler
def test_compiled_once_and_kept(own_cache: Path) -> None:
    assert compiled.kernels() is not None
    (library,) = own_cache.iterdir()
    made = library.stat().st_mtime_ns
    compiled.kernels.cache_clear()
    assert compiled.kernels() is not None
    assert [path.stat().st_mtime_ns for path in own_cache.iterdir()] == [made]


def test_without_a_compiler_pytorch_does_it(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(own_cache))
    monkeypatch.delenv("CXX", raising=False)
    assert choose("auto") is None
    with pytest.raises(InputError, match="'compiled' needs a C\\+\\+ compiler"):
        choose("compiled")
    assert choose("torch") is None


def test_a_compiler_that_fails_is_none(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no such header >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert choose("auto") is None
    assert list(own_cache.iterdir()) == []
    with pytest.raises(OSError, match="no such header"):
        compiled.compile_library(str(broken), own_cache)


def test_a_library_that_does_not_load_is_none(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler for another processor, say: it succeeds, and what it makes is nothing here."""
    other = tmp_path / "other"
    other.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho nonsense > "$2"\n')
    other.chmod(0o755)
    monkeypatch.setenv("CXX", str(other))
    assert choose("auto") is None


@pytest.mark.thorough
@needs_compiler
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")  # nobody makes folders there, root neither
    compiled.kernels.cache_clear()
    try:
        assert choose("compiled") is not None
    finally:
        compiled.kernels.cache_clear()


def test_an_unknown_recurrence() -> None:
    with pytest.raises(InputError, match="recurrence is 'fast'; expected one of: auto, compiled, torch"):
        choose("fast")
