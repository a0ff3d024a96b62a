# %% [markdown]
"""
# Segment microscopy images with a U-Net that has seen five masks

**What.** All layers of a U-Net learn from images alone, by HPCA; then backprop trains it on a few masks. Beside it
stand the same pass with weights at rest (a control in which batch norms alone have seen the images) and masks alone.

**For whom.** You have many images of cells, tissue or materials, and drew masks for a few of them.

**What to change.** `DATA`, a folder with `images/` and `masks/` whose files have the same names (the images without a
mask go into a folder of their own, `MORE`), and the sizes: `WIDTH = 32`, `DEPTH = 4`, `CROP = 128` and 2,000 steps are
usual. Whether pre-training helps differs from data to data: look at the control before you believe it.

Without a folder of yours, pictures of bright nuclei on uneven, noisy ground are drawn.
"""

# %%
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import fasthebb
from fasthebb.data import Crops, MaskedData, Preprocessing, draw_masks, load_masked
from fasthebb.evaluation import compare_masks, mean_interval, predict_tiles
from fasthebb.models import SegmentationNetwork, unet
from fasthebb.training import HebbianPretraining, Segmenter, fit, make_trainer, reestimate_batch_norm

# %%
DATA = os.environ.get("EXAMPLE_DATA", "")  # a folder with images/ and masks/
MORE: list[str] = []  # folders of images without masks
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
MASKS = "5"  # that backprop may see
IMAGES = 20 if SMALL else 60  # to draw, where there is no folder
WIDTH, DEPTH, CROP, BATCH = (4, 2, 32, 4) if SMALL else (8, 2, 48, 8)
PASSES, STEPS = (1, 6) if SMALL else (4, 150)  # over the images; with masks
SEEDS = 2 if SMALL else 3  # each draws masks and weights of its own


# %%
def draw_nuclei(folder: Path, count: int) -> Path:
    """Write ``images/<number>.png`` and ``masks/<number>.png``: ellipses that are brighter than what is around them."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96]
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(count):
        mask = np.zeros((96, 96), dtype=bool)
        ground = 60 + 40 * np.sin((rows * random.normal() + columns * random.normal()) / 30 + random.uniform(0, 6))
        for _ in range(random.integers(4, 12)):
            (y, x), (a, b), turn = random.uniform(0, 96, 2), random.uniform(4, 11, 2), random.uniform(0, np.pi)
            along = (rows - y) * np.cos(turn) + (columns - x) * np.sin(turn)
            across = (columns - x) * np.cos(turn) - (rows - y) * np.sin(turn)
            mask |= (along / a) ** 2 + (across / b) ** 2 < 1
        image = ground + 45 * mask + random.normal(0, 25, (96, 96))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number:03}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{number:03}.png")
    return folder


with tempfile.TemporaryDirectory() as temporary:
    folder = Path(DATA) if DATA else draw_nuclei(Path(temporary), IMAGES)
    everything = load_masked(folder, unlabelled=MORE)  # divided into train, validation and test
print(everything.summary())
preprocessing = Preprocessing.fit(everything.unlabelled)


# %%
def network(data: MaskedData, seed: int) -> SegmentationNetwork:
    """A U-Net with the weights of this seed."""
    torch.manual_seed(seed)
    return unet(len(data.classes), data.unlabelled.channels, depth=DEPTH, width=WIDTH)


def train(module: torch.nn.Module, batches: Iterable, epochs: int) -> None:
    """Fit, in silence and without files."""
    fit(make_trainer(epochs=epochs, out=None, progress=False), module, batches)


def pretrain(model: SegmentationNetwork, data: MaskedData, lr: float, seed: int) -> None:
    """Let the layers of `model.features` learn from images alone; with lr 0 they rest."""
    shown = Crops(data.unlabelled, preprocessing, crop=(CROP, CROP), batch_size=BATCH, seed=seed, augment="shift")
    module = HebbianPretraining(model, fasthebb.HPCA(max_lr=0.1), lr=lr, epochs=PASSES, seed=seed)
    train(module, shown, PASSES)
    module.plasticity.detach()
    reestimate_batch_norm(model.features, shown)


def dice(model: SegmentationNetwork, data: MaskedData) -> float:
    """Mean Dice on whole test images, per cent."""
    how = {"tile": 2 * CROP, "overlap": CROP // 2, "classes": len(data.classes)}
    found = [predict_tiles(model, image, preprocessing, **how).argmax(0).to(torch.uint8) for image in data.test.images]
    scores = compare_masks(found, data.test.masks, len(data.classes), distances=False).scores()
    return float(scores["dice"] or 0)


def run(seed: int, lr: float | None) -> float:
    """Perhaps pre-train, then train with the masks that this seed draws; Dice on the test images."""
    data = draw_masks(everything, MASKS, seed)
    model = network(data, seed)
    if lr is not None:
        pretrain(model, data, lr, seed)
    epochs = 2 if SMALL else 4
    steps = -(-STEPS // epochs)
    crops = Crops(
        data.train, preprocessing, crop=(CROP, CROP), batch_size=BATCH, batches=steps, seed=seed, augment="light"
    )
    module = Segmenter(model, lr=3e-3, seed=seed)
    train(module, crops, epochs)
    return dice(module.network(), data)


# %%
print(f"mean Dice on {len(everything.test)} test images with {MASKS} masks, mean of {SEEDS} seeds:")
for name, lr in [("masks alone", None), ("control: weights at rest, then masks", 0.0), ("HPCA, then masks", 0.1)]:
    mean, half = mean_interval([run(seed, lr) for seed in range(SEEDS)])
    print(f"{name:40} {mean:5.1f} ± {half:.1f}")
