# %% [markdown]
"""
# Go on from pretrained weights, without labels

**What.** A ResNet-18 of torchvision has weights from other images. Its last stage goes on learning from your images
without labels, by HPCA with a bounded step; a ridge regression reads it out with a few labels. Two controls: the
weights as they came, and these with batch norms that have seen your images, the usual way to adapt without labels.

**For whom.** Pretrained weights exist for something like your images (photographs, and you have endoscopies), and you
would like them to fit better without labelling more.

**What to change.** `DATA`, a folder of images by class; `WEIGHTS`, a file with a `state_dict`, or `DOWNLOAD = True` for
torchvision's own; `LAYERS`, the parts that go on: from the last ones backwards, as the first are the most general.
`SIZE = 224` is what such weights are used to. With ImageNet weights, `Preprocessing` should be ImageNet's: see below.

Without a file, weights are made here, by training with labels on the digits 0 to 4; without a folder, the digits 5 to 9
are your images.
"""

# %%
import os
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

import fasthebb
from fasthebb.data import Preprocessing, load_images
from fasthebb.training import reestimate_batch_norm, ridge

# %%
DATA = os.environ.get("EXAMPLE_DATA", "")  # a folder of images by class
WEIGHTS = os.environ.get("EXAMPLE_WEIGHTS", "")  # a .pth file with the state_dict of a ResNet-18
DOWNLOAD = False  # True fetches torchvision's weights, trained on ImageNet
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
LAYERS = "layer4.*"
SIZE = 16 if SMALL else 32
LABELS = 5  # of each class
LR, PASSES = 0.1, 1 if SMALL else 3
EPOCHS = 1 if SMALL else 5  # to make weights, where there is no file
DRAWS = 2 if SMALL else 5  # of labels


# %%
def some_digits(wanted: range) -> tuple[Tensor, Tensor]:
    """Images ``(N, 3, S, S)``, standardised, and classes from 0 on, of these digits."""
    found = load_images("digits", image_size=SIZE, channels=3, testing=False).train
    kept = [row for row, label in enumerate(found.labels.tolist()) if label in wanted][: 200 if SMALL else None]
    chosen = found.subset(kept)
    return Preprocessing.fit(chosen)(chosen.images), chosen.labels - wanted.start


def your_images() -> tuple[Tensor, Tensor]:
    """Images ``(N, 3, S, S)``, standardised by their own mean and deviation, and classes."""
    if not DATA:
        return some_digits(range(5, 10))
    found = load_images(DATA, image_size=SIZE, channels=3, testing=False).train
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    as_imagenet = Preprocessing(mean, std, SIZE)
    preprocessing = as_imagenet if DOWNLOAD or WEIGHTS else Preprocessing.fit(found)
    return preprocessing(found.images), found.labels


def make_weights() -> dict[str, Tensor]:
    """Train with labels on other images, as those did who published the weights that you have."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=5)
    x, y = some_digits(range(5))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net.state_dict()


if WEIGHTS:
    state = torch.load(Path(WEIGHTS), weights_only=True)  # reads tensors alone, and runs nothing that is in the file
elif DOWNLOAD:
    state = torchvision.models.ResNet18_Weights.DEFAULT.get_state_dict(progress=True)
else:
    state = make_weights()


def pretrained() -> nn.Module:
    """A ResNet-18 with these weights, which gives features ``(N, 512)``."""
    net = torchvision.models.resnet18(num_classes=len(state["fc.weight"]))
    net.load_state_dict(state)
    net.fc = nn.Identity()
    return net.eval()


# %%
X, y = your_images()
print(f"{len(X)} images of {int(y.max()) + 1} classes")


def with_norms_of_yours(net: nn.Module) -> nn.Module:
    """Let batch norms take their means and variances from the images."""
    reestimate_batch_norm(net, [(part,) for part in X.split(64)])
    return net.eval()


def gone_on(net: nn.Module) -> nn.Module:
    """Let `LAYERS` learn from the images alone; batch norms stay as they are."""
    plasticity = fasthebb.attach(net, {LAYERS: fasthebb.HPCA(max_lr=LR)})
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=LR)
    for layer in plasticity.layers.values():
        layer.train()  # a layer learns while it is in training mode; batch norms and all else stay in eval mode
    for _ in range(PASSES):
        for rows in torch.randperm(len(X), generator=torch.Generator().manual_seed(0)).split(64):
            with torch.no_grad():
                net(X[rows])
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()
    plasticity.check()
    plasticity.detach()
    return net.eval()


def accuracy(net: nn.Module) -> list[float]:
    """Top-1 of a read-out on half of the images with labels from the other half, for several draws, per cent."""
    with torch.no_grad():
        features = torch.cat([net(part) for part in X.split(64)])
    scores = []
    for draw in range(DRAWS):
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(draw))
        test, rest = order[: len(X) // 2], order[len(X) // 2 :]
        few = torch.cat([rest[y[rest] == label][:LABELS] for label in range(int(y.max()) + 1)])
        fitted = ridge([features[few]], y[few], classes=int(y.max()) + 1)
        right = (features[test] @ fitted.weight.T + fitted.bias).argmax(1) == y[test]
        scores.append(100 * float(right.float().mean()))
    return scores


# %%
print(f"top-1 with {LABELS} labels a class, mean of {DRAWS} draws:")
for name, net in [
    ("control: weights as they came", pretrained()),
    ("control: batch norms adapt", with_norms_of_yours(pretrained())),
    ("goes on learning by HPCA", gone_on(pretrained())),
]:
    print(f"{name:32} {torch.tensor(accuracy(net)).mean():.1f}")
