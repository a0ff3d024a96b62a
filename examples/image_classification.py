# %% [markdown]
"""
# Classify images when only ten of each class have a label

**What.** Convolutions learn from all images of a folder, labelled or not; a linear read-out learns from the labelled
ones. Beside it stand the same network with weights at rest (the control that a gain must beat) and backprop alone.

**For whom.** You have a folder of images by class, `scans/benign/...`, `scans/malignant/...`, and few of them there.
More that nobody has labelled may lie elsewhere.

**What to change.** `DATA`, `MORE`, `LABELS`, `IMAGE_SIZE`. With labels in a table, give `load_images` a `label_file`;
with patients or slides, a `group`. `WIDTH = 1.0` is better, and slower by its square.

Without a folder of yours, scikit-learn's digits are written into one.
"""

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from fasthebb.data import Batches, Preprocessing, draw_labels, load_images
from fasthebb.evaluation import mean_interval, predict_logits
from fasthebb.models import cnn6
from fasthebb.sklearn import HebbianClassifier
from fasthebb.training import Classifier, fit, make_trainer

# %%
DATA = os.environ.get("EXAMPLE_DATA", "")  # a folder of images by class
MORE: list[str] = []  # folders of images without labels
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
LABELS = "10/class"  # also "200", a total, or "0.05", a fraction
IMAGE_SIZE = 24 if SMALL else 32  # each image is resized by its shorter side and cropped to the centre square
WIDTH = 0.05 if SMALL else 0.25
SEEDS = 2 if SMALL else 3  # each draws labels and weights of its own
EPOCHS = 2 if SMALL else 20  # of backprop


# %%
def digits_as_folder(folder: Path) -> Path:
    """Write the 1,797 digits as ``folder/<class>/<number>.png``."""
    images, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / str(label)).mkdir(exist_ok=True)
        pixels = (image.reshape(8, 8) / 16 * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / str(label) / f"{number:04}.png")
    return folder


with tempfile.TemporaryDirectory() as temporary:
    folder = Path(DATA) if DATA else digits_as_folder(Path(temporary))
    everything = load_images(folder, unlabelled=MORE, image_size=IMAGE_SIZE)  # divided into train, validation and test
print(everything.summary())


# %%
def as_numbers(images: torch.Tensor) -> np.ndarray:
    """Images of 8 bits, or deeper ones that are in [0, 1] already, as ``(N, C, H, W)`` in [0, 1]."""
    return (images / 255 if images.dtype == torch.uint8 else images).numpy()


def backprop_alone(seed: int) -> float:
    """Top-1 accuracy of a network that sees the labelled images and no others, per cent."""
    data = draw_labels(everything, LABELS, seed)
    torch.manual_seed(seed)
    channels, classes = data.train.images.shape[1], len(data.classes)
    model = cnn6(classes, channels, IMAGE_SIZE, hebbian=False, width=WIDTH, hidden=256)
    preprocessing = Preprocessing.fit(data.train)
    batches = Batches(data.train, preprocessing, batch_size=64, shuffle=True, seed=seed)
    module = Classifier(model, classes=classes, epochs=EPOCHS, lr=1e-2, seed=seed)
    fit(make_trainer(epochs=EPOCHS, out=None, progress=False), module, batches)
    logits, labels = predict_logits(model, Batches(data.test, preprocessing, batch_size=256, shuffle=False))
    return 100 * float((logits.argmax(1) == labels).float().mean())


def with_unlabelled(seed: int, **how: object) -> float:
    """Top-1 accuracy of a read-out over features that learned from every training image, per cent."""
    data = draw_labels(everything, LABELS, seed)
    X = as_numbers(torch.cat([data.unlabelled.images, data.train.images]))
    y = np.concatenate([np.full(len(data.unlabelled), -1), data.train.labels.numpy()])  # -1: nobody knows
    classifier = HebbianClassifier("wta", width=WIDTH, random_state=seed, **how).fit(X, y)
    return 100 * classifier.score(as_numbers(data.test.images), data.test.labels.numpy())


# %%
def report(name: str, scores: list[float]) -> None:
    """A line with mean and 95 % confidence interval over the seeds."""
    mean, half = mean_interval(scores)
    print(f"{name:44} {mean:5.1f} ± {half:.1f}")


print(f"top-1 on {len(everything.test)} test images with {LABELS} labels, mean of {SEEDS} seeds:")
seeds = range(SEEDS)
report("backprop alone", [backprop_alone(seed) for seed in seeds])
report("control: weights at rest, read-out", [with_unlabelled(seed, solver="steps", epochs=0) for seed in seeds])
report("layers learned without labels, read-out", [with_unlabelled(seed) for seed in seeds])
