"""Time and peak memory of a DP-SGD step over those of the same plain step, beside Opacus and a loop over the samples.

    python -m benchmarks.dpsgd_step --out docs/results/dpsgd_step.md
    python -m benchmarks.dpsgd_step --stacks lstm --frames 100 --no-memory

A step is everything from a batch of 16 in memory to changed weights: forward, backward, clipping, noise from a secret
source, SGD. The plain step is that of local training, with nn.LSTM. All systems clip the same gradients, which is
checked before anything is timed. They take turns; a ratio is the median of the ratios to the plain step of the same
turn, in processor time of the one thread, so that other work on the machine counts as little as it can. Memory is
measured in processes of their own: the peak above what the process holds before its first step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.measure import ROOT
from fedasr import seeds
from fedasr.config.schema import ClientConfig, ModelConfig
from fedasr.data.batches import Batch
from fedasr.models.base import SpeechModel
from fedasr.models.convolutions import DepthwiseConv1d, FrameConv1d
from fedasr.models.factory import build_model
from fedasr.models.weights import model_arrays
from fedasr.privacy import dpsgd
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.gradients.clipping import Flat
from fedasr.privacy.randomness import Randomness
from fedasr.training import local

BATCH, MEL, TOKENS, RATE, NORM = 16, 40, 32, 0.01, 1.0
STACKS = {
    "lstm": ("conv + LSTM(128)", ModelConfig(encoder="lstm", norm="none")),
    "blstm": ("conv + BLSTM(128)", ModelConfig(encoder="blstm")),
    "conformer": ("conv + Conformer(144) × 4", ModelConfig(name="ctc-conformer", hidden=144, layers=4)),
    "las": ("LAS, pyramid of BLSTM(128) × 2", ModelConfig(name="las", layers=2)),
    "rnnt": ("RNN-T, LSTM(128)", ModelConfig(name="rnnt", encoder="lstm")),
}
SYSTEMS = {
    "plain": "plain step",
    "torch": "FedASR, pure PyTorch",
    "compiled": "FedASR, compiled recurrence",
    "hooks": "Opacus hooks",
    "ghost": "Opacus ghost",
    "hooks-ours": "Opacus hooks, our LSTM",
    "loop": "loop of batch 1",
}
OURS = ("plain", "torch", "compiled")
CANNOT = {
    ("rnnt", "ghost"): "Opacus' ghost clipping knows linear layers on (batch, channels) and (batch, time, channels)"
    " only; the joint network of a transducer runs on (batch, time, tokens, channels)",
}
"""What does not run, and why."""
Step = Callable[[], None]


class Transposed(nn.Module):
    """A convolution over ``(batch, channels, time)`` for frames that come as ``(batch, time, channels)``."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size[0],
            convolution.stride[0],
            int(convolution.padding[0]),
            convolution.dilation[0],
            convolution.groups,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x.transpose(1, 2)).transpose(1, 2)


def for_opacus(model: nn.Module, own_lstm: bool) -> nn.Module:
    """Exchange, in place, the layers that Opacus does not know for ones that it does; weights stay."""
    from opacus.layers import DPLSTM

    from fedasr.privacy.gradients.opacus_lstm import OpacusLSTM

    for name, child in model.named_children():
        if isinstance(child, FrameConv1d | DepthwiseConv1d):
            new: nn.Module = Transposed(child)
        elif isinstance(child, nn.LSTM):
            make = OpacusLSTM if own_lstm else partial(DPLSTM, batch_first=True)
            new = make(child.input_size, child.hidden_size)
        else:
            for_opacus(child, own_lstm)
            continue
        for inner in (new, *new.children()):
            if inner.state_dict().keys() == child.state_dict().keys():
                inner.load_state_dict(child.state_dict())
        setattr(model, name, new)
    return model


def make_batch(frames: int, most: int = 12) -> Batch:
    """Return 16 utterances of so many frames, each of two thirds of ``most`` tokens to all of them."""
    with seeds.torch_scope(0, "benchmark"):
        features = torch.randn(BATCH, frames, MEL)
        targets, lengths = torch.randint(1, TOKENS, (BATCH, most)), torch.randint(most * 2 // 3, most + 1, (BATCH,))
    return Batch(features, torch.full((BATCH,), frames), targets, lengths, BATCH * frames / 100, tuple(range(BATCH)))


def make_step(system: str, config: ModelConfig, batch: Batch, z: float) -> tuple[Step, SpeechModel]:
    """Return what takes one step, and the model that it changes."""
    with seeds.torch_scope(1, "benchmark"):
        model = build_model(config, MEL, TOKENS).train()
    client = ClientConfig(optimizer="sgd", clip_norm=None)
    if system in OURS:
        resident = local.Resident(model)
        arrays = model_arrays(model)
        if system == "plain":
            state = local.init(resident, arrays, client, RATE)
            return partial(local.step, state, batch), model
        settings = dpsgd.PrivateTraining(Flat(NORM), (z,) * 1000, 0.5, 2 * BATCH)
        keeper = BookKeeper(model, system)
        where = dpsgd.Where(Randomness.secret(), 1, 0)
        private = dpsgd.init(keeper, resident, arrays, client, RATE, settings, where)
        return partial(dpsgd.step, private, [batch]), model
    if system == "loop":
        return loop_step(model, batch, z), model
    return opacus_step(system, model, batch, z), model


def loop_step(model: SpeechModel, batch: Batch, z: float) -> Step:
    """Return a step that takes the samples one by one."""
    resident = local.Resident(model)
    parts = list(dpsgd.split(batch, 1))

    def step() -> None:
        total = torch.zeros_like(resident.gradient)
        for part in parts:
            resident.gradient.zero_()
            local.normalised_loss(model, part).sum().backward()
            norm = torch.linalg.vector_norm(resident.gradient)
            total.add_(resident.gradient * (NORM / norm).clamp(max=1.0))
        total.add_(torch.randn_like(total), alpha=z * NORM)
        resident.parameters.sub_(total, alpha=RATE / BATCH)

    return step


def opacus_step(system: str, model: SpeechModel, batch: Batch, z: float) -> Step:
    """Return a step of Opacus."""
    import warnings

    from opacus import GradSampleModule
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    warnings.filterwarnings("ignore", "Full backward hook")
    model = for_opacus(model, own_lstm=system == "hooks-ours")  # type: ignore[assignment]
    plain = torch.optim.SGD(model.parameters(), RATE)
    options = {"noise_multiplier": z, "max_grad_norm": NORM, "expected_batch_size": BATCH}
    if system == "ghost":
        ghost = GradSampleModuleFastGradientClipping(model, max_grad_norm=NORM, use_ghost_clipping=True)
        optimizer = DPOptimizerFastGradientClipping(plain, **options)

        def step() -> None:
            optimizer.zero_grad()
            losses = local.normalised_loss(model, batch)
            DPTensorFastGradientClipping(ghost, optimizer, losses, loss_reduction="mean").backward()
            optimizer.step()

        return step
    GradSampleModule(model)
    hooked = DPOptimizer(plain, **options)

    def hooks() -> None:
        hooked.zero_grad()
        local.normalised_loss(model, batch).mean().backward()
        hooked.step()

    return hooks


def weights(model: nn.Module) -> torch.Tensor:
    """Return a copy of all weights, flat, in the order of the names that they have in the plain model."""
    named = {name.replace("gates.", "").replace("convolution.", ""): w for name, w in model.named_parameters()}
    return torch.cat([named[name].detach().flatten() for name in sorted(named)])


def check_that_all_agree(config: ModelConfig, batch: Batch, systems: list[str]) -> None:
    """Take one step without noise with every system and compare the weights."""
    wanted: torch.Tensor | None = None
    for system in systems:
        if system == "plain":
            continue
        step, model = make_step(system, config, batch, 0.0)
        before = weights(model)
        step()
        moved = weights(model) - before
        wanted = moved if wanted is None else wanted
        error = float((moved - wanted).norm() / wanted.norm())
        if error > 1e-3:
            raise SystemExit(f"{SYSTEMS[system]} takes another step: off by {error:.1e} of its length")


def check_that_it_cannot(system: str, config: ModelConfig, batch: Batch) -> None:
    """Take a step with what is said not to run."""
    step, _ = make_step(system, config, batch, 0.0)
    try:
        step()
    except AttributeError:  # of a norm that nobody has computed
        return
    raise SystemExit(f"{SYSTEMS[system]} runs after all: take it out of CANNOT")


def times(
    config: ModelConfig, batch: Batch, systems: list[str], repeats: int, slow_repeats: int
) -> dict[str, list[float]]:
    """Return seconds a step of each system, the systems taking turns; the first turn is left out."""
    steps = {system: make_step(system, config, batch, 1.0)[0] for system in systems}
    result: dict[str, list[float]] = {system: [] for system in systems}
    for turn in range(repeats + 1):
        for system, step in steps.items():
            if system not in OURS and turn > slow_repeats:
                continue
            started = time.process_time()
            step()
            if turn:
                result[system].append(time.process_time() - started)
    return result


def peak_mb(system: str, stack: str, frames: int, tokens: int) -> float:
    """Return the peak of this process during three steps above what it held before them, in megabytes."""
    step, _ = make_step(system, STACKS[stack][1], make_batch(frames, tokens), 1.0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field))

    before = status("VmRSS")
    for _ in range(3):
        step()
    return (status("VmHWM") - before) / 1024


def measured_apart(system: str, stack: str, frames: int, tokens: int) -> float:
    """Return ``peak_mb`` as a process of its own finds it."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.dpsgd_step",
        "--one",
        system,
        "--stacks",
        stack,
        "--frames",
        str(frames),
        "--tokens",
        str(tokens),
    ]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout))


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stacks", nargs="+", default=list(STACKS), choices=list(STACKS))
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 200, 400, 800])
    parser.add_argument("--tokens", type=int, default=12, help="of the longest transcript; a second of speech has 12")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--slow-repeats", type=int, default=5, help="turns of Opacus and of the loop")
    parser.add_argument("--no-opacus", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.one is not None:
        print(json.dumps(peak_mb(given.one, given.stacks[0], given.frames[0], given.tokens)))
        return
    header = "| stack | frames | system | ms a step | × plain | peak MB | × plain |"
    lines = [header, "|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for stack in given.stacks:
        name, config = STACKS[stack]
        systems = [s for s in SYSTEMS if (s != "hooks-ours" or stack != "conformer")]
        if stack == "conformer":
            systems.remove("torch")  # no recurrence: it is one system, not two
        if given.no_opacus:
            systems = [s for s in systems if s in (*OURS, "loop")]
        unable = [s for s in systems if (stack, s) in CANNOT]
        systems = [s for s in systems if s not in unable]
        for frames in given.frames:
            batch = make_batch(frames, given.tokens)
            check_that_all_agree(config, batch, systems)
            for system in unable:
                check_that_it_cannot(system, config, batch)
            result = times(config, batch, systems, given.repeats, given.slow_repeats)
            memory = {} if given.no_memory else {s: measured_apart(s, stack, frames, given.tokens) for s in systems}
            for system in systems:
                ratio = median(a / b for a, b in zip(result[system], result["plain"], strict=False))
                title = "FedASR" if stack == "conformer" and system == "compiled" else SYSTEMS[system]
                cells = [name, str(frames), title, f"{1000 * median(result[system]):.1f}", f"{ratio:.2f}"]
                if memory:
                    cells += [f"{memory[system]:.0f}", f"{memory[system] / memory['plain']:.2f}"]
                else:
                    cells += ["–", "–"]
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
            for system in unable:
                lines.append(f"| {name} | {frames} | {SYSTEMS[system]} | does not run | – | – | – |")
                print(lines[-1], flush=True)
    if given.out:
        given.out.write_text(page(lines, given.stacks, given.tokens))


def page(lines: list[str], stacks: list[str], tokens: int) -> str:
    """Return the page of results."""
    reasons = [
        f"{SYSTEMS[system]} does not run with {STACKS[stack][0]}: {why}.\n"
        for (stack, system), why in CANNOT.items()
        if stack in stacks
    ]
    model = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), ""
    )
    return f"""# What a DP-SGD step costs

The benchmark divides the cost of a step of example-level DP-SGD (forward, backward, per-utterance clipping, noise, SGD)
by that of the same step without privacy. The plain step is that of local training with `nn.LSTM`. Batch of {BATCH}, one
thread, {MEL} mel bands, transcripts of {tokens * 2 // 3} to {tokens} characters, CTC where the stack names no other
model. All systems make the same step from the same weights, which the benchmark checks first. Opacus gets its `DPLSTM`
for `nn.LSTM`; "our LSTM" is `OpacusLSTM`, registered with Opacus.

```
python -m benchmarks.dpsgd_step --out docs/results/dpsgd_step.md
```

{os.cpu_count()} cores, {platform.machine()} {model}, Python {platform.python_version()}, torch {torch.__version__}. The
systems take turns. Milliseconds are medians. × plain is the median of the ratios to the plain step of the same turn, in
processor time of the one thread, because other work ran on the machine. Memory is the peak above what the process held
before its first step, each system in a process of its own.

{chr(10).join(lines)}
{"".join(chr(10) + reason for reason in reasons)}"""


if __name__ == "__main__":
    main()
