# %% [markdown]
"""
# Let a layer go on learning while it is used

**What.** A classifier meets images that change little by little: they turn. Its last layer is of prototypes, a few of
each class. A teacher places them; afterwards, without labels, the one that wins an image moves towards it. The control
is the same classifier whose prototypes stay. Each image is classified before anything learns from it.

**For whom.** Your camera, stain, microphone or season drifts after training, and nobody labels what it drifts to.

**What to change.** `features`, any network at rest; `stream`, your images in the order in which they come; `RATE`, how
fast the prototypes follow. Images must drift more slowly than that, and all classes must keep coming: a wrong winner
pulls its prototype to the wrong class, and nothing pulls it back. So look at the accuracy on a few labelled images now
and then. The last two lines show what following costs where nothing drifts.
"""

# %%
import os
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize, rotate

import fasthebb
from fasthebb.sklearn import HebbianTransformer

# %%
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
PROTOTYPES = 8  # of each class
DEGREES = 60.0  # by which images are turned in the end
RATE = 0.05  # part of the way to the mean of what it has won in a batch that a prototype goes
BATCH, BATCHES = 32, 8 if SMALL else 200
SEEDS = 1 if SMALL else 5
WIDTH = 0.05 if SMALL else 0.1

# %%
digits = load_digits()
images = resize(torch.from_numpy(digits.images).float()[:, None] / 16, [16, 16])  # (N, 1, 16, 16)
labels = torch.from_numpy(digits.target)


def stream(test: Tensor, degrees: float, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches ``(images, labels)`` of test digits, turned more and more."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(BATCHES):
        rows = test[torch.randperm(len(test), generator=generator)[:BATCH]]
        angle = degrees * step / (BATCHES - 1)
        yield rotate(images[rows], angle, interpolation=InterpolationMode.BILINEAR), labels[rows]


class Prototypes(nn.Module):
    """Images to the angle with the nearest prototype of each class, ``(N, 10)``."""

    def __init__(self, features: HebbianTransformer, size: int, center: Tensor) -> None:
        super().__init__()
        self.features, self.center = features, center
        self.layer = nn.Linear(size, 10 * PROTOTYPES, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Neurons are shared out among the classes in their order."""
        found = torch.from_numpy(self.features.transform(pixels.numpy())) - self.center
        return self.layer(found).unflatten(1, (10, PROTOTYPES)).amax(2)


# %%
def trained(train: Tensor, seed: int) -> Prototypes:
    """Features that learn without labels, then prototypes that a teacher places; images upright."""
    features = HebbianTransformer("wta", width=WIDTH, random_state=seed)
    found = torch.from_numpy(features.fit_transform(images[train].numpy()))
    torch.manual_seed(seed)
    model = Prototypes(features, found.shape[1], found.mean(0))
    with torch.no_grad():  # each starts from an image of its class
        for label in range(10):
            chosen = (labels[train] == label).nonzero()[:PROTOTYPES, 0]
            model.layer.weight[label * PROTOTYPES :][:PROTOTYPES] = found[chosen] - model.center
    plasticity = fasthebb.attach(model, {"layer": fasthebb.WTA(classes=10)})
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.5)
    for _ in range(5):
        with torch.no_grad(), plasticity.teacher(labels[train]):
            model(images[train])
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.detach()  # what divides by the norms of the weights is folded into them
    return model


def followed(model: Prototypes, test: Tensor, degrees: float, rate: float, seed: int) -> list[float]:
    """Accuracy in the first and in the last quarter of the stream, per cent; with rate 0 the prototypes stay."""
    plasticity = fasthebb.attach(model, {"layer": fasthebb.WTA()})  # no classes now: nobody teaches
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=rate)
    right = []
    for pixels, truth in stream(test, degrees, seed):
        with torch.no_grad():
            predicted = model(pixels).argmax(1)
        right.append((predicted == truth).float().mean())
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.check()
    plasticity.detach()
    quarter = len(right) // 4
    return [100 * float(torch.stack(part).mean()) for part in (right[:quarter], right[-quarter:])]


# %%
print(f"top-1 in the first and the last quarter of the stream, mean of {SEEDS} seeds:")
for degrees in (DEGREES, 0.0):
    for name, rate in [("control: prototypes stay", 0.0), ("prototypes follow", RATE)]:
        scores = []
        for seed in range(SEEDS):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            scores.append(followed(trained(order[:1000], seed), order[1000:], degrees, rate, seed))
        first, last = torch.tensor(scores).mean(0).tolist()
        print(f"images turned by {degrees:2.0f} degrees in the end, {name:26} {first:5.1f} {last:5.1f}")
