# %% [markdown]
"""
# Find images that look like this one

**What.** Features that nobody has given a label: layers learn from the images themselves, and images are alike where
their features point the same way. Where classes are known, precision says how good the lists are; beside it stand raw
pixels and the same network with weights at rest, the controls that a gain must beat.

**For whom.** You have a pile of images and want "more like this", duplicates or a sorted contact sheet.

**What to change.** `DATA`, a folder of images, nested in any way; if its folders are classes, the lists are scored.
`QUERY`, the number of the image to look for. For photographs `SIZE = 32` and `WIDTH = 1.0` or more.

Without a folder of yours, scikit-learn's digits are taken.
"""

# %%
import os

import numpy as np
import torch
from torch import Tensor

from fasthebb.data import DataError, load_folder_for_prediction, load_images
from fasthebb.evaluation import retrieval_scores
from fasthebb.sklearn import HebbianTransformer

# %%
DATA = os.environ.get("EXAMPLE_DATA", "")  # a folder of images
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
QUERY, SHOWN = 0, 5  # the image to look for, and how many to list
SIZE, CHANNELS = (12 if SMALL else 24), (3 if DATA else 1)
WIDTH = 0.05 if SMALL else 0.25

# %% [markdown]
"""
Images are read as a network wants them: of one size, squares. Folders may be classes or not.
"""


# %%
def read() -> tuple[Tensor, Tensor | None, list[str]]:
    """Images ``(N, C, H, W)`` in [0, 1], their classes if there are any, and their names."""
    try:
        sets = load_images(DATA or "digits", image_size=SIZE, channels=CHANNELS, testing=False)
        found, labels = sets.train, sets.train.labels
    except DataError:  # no classes in there
        found, _ = load_folder_for_prediction(DATA, image_size=SIZE, channels=CHANNELS)
        labels = None
    pixels = found.images / 255 if found.images.dtype == torch.uint8 else found.images
    return pixels, labels, found.names


images, labels, names = read()
print(f"{len(images)} images")


# %%
def centred(features: np.ndarray) -> Tensor:
    """Features less their mean, so that the angle between two images says what they do not share with all others."""
    return torch.from_numpy(features - features.mean(0))


kinds = {
    "raw pixels": centred(images.flatten(1).numpy()),
    "control: weights at rest": centred(
        HebbianTransformer("wta", width=WIDTH, solver="steps", epochs=0, random_state=0).fit_transform(images.numpy())
    ),
    "learned": centred(HebbianTransformer("wta", width=WIDTH, random_state=0).fit_transform(images.numpy())),
}

# %% [markdown]
"""
The nearest images by each kind of features.
"""


# %%
def nearest(features: Tensor, query: int, count: int) -> list[int]:
    """The images most like the query by the cosine of their features, without the query itself."""
    unit = torch.nn.functional.normalize(features, dim=1)
    alike = unit @ unit[query]
    alike[query] = -2
    return alike.topk(min(count, len(alike) - 1)).indices.tolist()


def shown(index: int) -> str:
    """An image's name, and its class if that is known."""
    return names[index] if labels is None else f"{names[index]} (class {int(labels[index])})"


print(f"most like {shown(QUERY)}:")
for name, features in kinds.items():
    print(f"  by {name}: " + ", ".join(shown(index) for index in nearest(features, QUERY, SHOWN)))

# %% [markdown]
"""
Where classes are known, the last fifth of the images asks for its like among the others. Classes are read for this
score alone: no layer has seen them.
"""

# %%
if labels is not None:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    asking, base = order[: len(images) // 5], order[len(images) // 5 :]
    for name, features in kinds.items():
        scores = retrieval_scores(features[base], labels[base], features[asking], labels[asking], k=10)
        precision, average = scores["precision_at_10"], scores["map_at_class_size"]
        print(f"{name:26} precision of the first 10: {precision:.1f} %, mean average precision: {average:.1f} %")
