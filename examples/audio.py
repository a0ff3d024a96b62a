# %% [markdown]
"""
# Recognise sounds with a network of one dimension

**What.** Convolutions over time learn from recordings without labels, by HPCA; a ridge regression reads them out with a
few labels. The control is the same network with weights at rest.

**For whom.** You have short recordings, or other signals of one dimension (ECG, accelerometers, vibration), and labels
for few of them. The rules are the same as on images: only the layers have one dimension.

**What to change.** `DATA`, a folder of WAV files by class, `sounds/dog/1.wav`; `SECONDS`, that of each file which is
looked at; for other signals `read_folder`. Where recordings lie about at random, rather more layers.

Without a folder of yours, tones, chirps, clicks and noises are made, under more noise than signal.
"""

# %%
import os
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb.training import reestimate_batch_norm, ridge

# %%
DATA = os.environ.get("EXAMPLE_DATA", "")  # a folder of WAV files by class
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
RATE, SECONDS = 8000, 0.25  # samples a second: recordings of other rates are resampled
EACH = 20 if SMALL else 300  # sounds of a class to make, where there is no folder
LABELS = 5  # of each class
PASSES = 1 if SMALL else 5
SEEDS = 1 if SMALL else 5
SAMPLES = int(RATE * SECONDS)


# %%
def made_up(each: int) -> tuple[Tensor, Tensor, list[str]]:
    """Sounds ``(N, 1, samples)``, their classes ``(N,)`` and what these are."""
    random = np.random.default_rng(0)
    time = np.arange(SAMPLES) / RATE
    kinds = ["low tone", "high tone", "rising chirp", "falling chirp", "clicks", "noise"]
    sounds = []
    for kind in range(len(kinds)):
        for _ in range(each):
            start, phase = random.uniform(300, 500), random.uniform(0, 2 * np.pi)
            if kind < 4:
                sweep = [0, 0, 5000, -5000][kind]  # Hz a second
                first = start + [0, 1200, 0, 1250][kind]
                sound = np.sin(2 * np.pi * (first * time + sweep * time**2 / 2) + phase)
            elif kind == 4:
                sound = 4.0 * (np.arange(SAMPLES) % random.integers(150, 300) < 4)
            else:
                sound = random.normal(0, 1, SAMPLES)
            sounds.append(sound + random.normal(0, 1, SAMPLES))
    labels = torch.arange(len(kinds)).repeat_interleave(each)
    return torch.tensor(np.array(sounds), dtype=torch.float32)[:, None], labels, kinds


def read(file: Path) -> np.ndarray:
    """The first `SECONDS` of a WAV file ``(samples,)`` in [-1, 1], its channels averaged, at `RATE`."""
    with wave.open(str(file)) as recording:
        width, channels, rate = recording.getsampwidth(), recording.getnchannels(), recording.getframerate()
        raw = recording.readframes(int(rate * SECONDS) + 1)
    if width not in (1, 2, 4):
        raise SystemExit(f"{file}: found {8 * width} bits a sample, expected 8, 16 or 32: convert it")
    values = np.frombuffer(raw, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width]).astype(np.float64)
    values = (values - 128) / 128 if width == 1 else values / 2.0 ** (8 * width - 1)
    values = values.reshape(-1, channels).mean(1)
    at = np.arange(SAMPLES) * rate / RATE  # silence where the file is shorter
    return np.interp(at, np.arange(len(values)), values, right=0.0)


def read_folder(folder: Path) -> tuple[Tensor, Tensor, list[str]]:
    """As `made_up`, from ``folder/<class>/<name>.wav``."""
    files = sorted(folder.glob("*/*.wav"))
    if not files:
        raise SystemExit(f"found no WAV files at {folder}/<class>/<name>.wav")
    classes = sorted({file.parent.name for file in files})
    sounds = np.array([read(file) for file in files])
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    return torch.tensor(sounds, dtype=torch.float32)[:, None], labels, classes


X, y, classes = read_folder(Path(DATA)) if DATA else made_up(EACH)
X = X / X.square().mean(2, keepdim=True).sqrt().clamp_min(1e-6)  # all of the same loudness
print(f"{len(X)} sounds of {SECONDS} s in {len(classes)} classes: {', '.join(classes)}")


# %%
def network() -> nn.Sequential:
    """From samples ``(N, 1, T)`` to the loudness of 64 learned sounds at four times, ``(N, 256)``."""
    layers = [(1, 32, 64, 4), (32, 64, 9, 2)]  # inputs, outputs, length and step of the kernels
    made: list[nn.Module] = []
    for inputs, outputs, length, step in layers:
        convolution = nn.Conv1d(inputs, outputs, length, step, bias=False)
        made += [convolution, nn.ReLU(), nn.BatchNorm1d(outputs), nn.AvgPool1d(4)]
    return nn.Sequential(*made, nn.AdaptiveAvgPool1d(4), nn.Flatten())


def features(lr: float, train: Tensor, seed: int) -> tuple[Tensor, nn.Sequential]:
    """What a network makes of all sounds after it has learned from some of them; with lr 0 its weights rest."""
    torch.manual_seed(seed)
    net = network()
    plasticity = fasthebb.attach(net, fasthebb.HPCA(max_lr=0.1))
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=lr)
    for _ in range(PASSES):
        for batch in train[torch.randperm(len(train))].split(32):
            with torch.no_grad():
                net(X[batch])
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()
    plasticity.detach()
    reestimate_batch_norm(net, [(X[batch],) for batch in train.split(256)])
    with torch.no_grad():
        return torch.cat([net(part) for part in X.split(256)]), net


def accuracy(lr: float, seed: int) -> float:
    """Top-1 on a third of the sounds, which nothing has learned from, per cent."""
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
    test, train = order[: len(X) // 3], order[len(X) // 3 :]
    found, _ = features(lr, train, seed)
    few = torch.cat([train[y[train] == label][:LABELS] for label in range(len(classes))])
    fitted = ridge([found[few]], y[few], classes=len(classes))
    return 100 * float(((found[test] @ fitted.weight.T + fitted.bias).argmax(1) == y[test]).float().mean())


# %%
print(f"top-1 with {LABELS} labels a class, mean of {SEEDS} seeds:")
for name, lr in [("control: weights at rest", 0.0), ("HPCA", 0.1)]:
    print(f"{name:26} {sum(accuracy(lr, seed) for seed in range(SEEDS)) / SEEDS:.1f}")

# %% [markdown]
"""
What have the first neurons learned to hear? The strongest frequency of each kernel.
"""

# %%
kernels = features(0.1, torch.arange(len(X)), 0)[1][0].weight.detach()[:, 0]  # (32, 64)
loudest = torch.fft.rfft(kernels, 512).abs().argmax(1) * RATE / 512
print("strongest frequencies, Hz:", ", ".join(f"{hertz:.0f}" for hertz in sorted(loudest.tolist())))
