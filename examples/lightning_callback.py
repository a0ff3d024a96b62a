# %% [markdown]
"""
# Local learning in a Lightning project, in three lines

**What.** `Project` below stands for a LightningModule that you have: its loss, its optimizer and its code stay as they
are. Two imports and a callback for the trainer, and its encoder learns by a Hebbian rule, in the place of the loss's
gradient or beside it. The control is the encoder at rest: what a trained head makes of random layers.

**For whom.** You train with Lightning and wonder what local learning would do to your layers.

**What to change.** Put your module in the place of `Project`, the names of its layers in the place of `"encoder.*"`.
Competitive rules such as `SWTA` want a plain SGD for the layers that learn: an optimizer with memory and weight decay
adds to the update what the rule has not said.
"""

# %%
import logging
import os
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

# %%
from fasthebb import HPCA  # line 1
from fasthebb.training import HebbianCallback  # line 2

# %%
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
EPOCHS = 1 if SMALL else 15
SEEDS = 1 if SMALL else 3
LABELLED = 200  # images, of 1,000 to learn from
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*does not have many workers.*")


# %%
class Project(lightning.LightningModule):
    """A classifier of digits, as anybody might have written it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(32),
            nn.Conv2d(32, 64, 3, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(64),
            nn.Flatten(),
        )
        self.head = nn.Linear(64 * 4 * 4, 10)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross entropy of the images that have a label."""
        images, labels = batch
        return nn.functional.cross_entropy(self.head(self.encoder(images)), labels, ignore_index=-1)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Accuracy, per cent."""
        images, labels = batch
        predicted = self.head(self.encoder(images)).argmax(1)
        self.log("top1", 100 * (predicted == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD for all of it."""
        return torch.optim.SGD(self.parameters(), lr=0.02)


# %%
digits = load_digits()
images = torch.from_numpy(digits.images).float()[:, None] / 8 - 1  # (N, 1, 8, 8)
labels = torch.from_numpy(digits.target)


def accuracy(seed: int, *callbacks: HebbianCallback) -> float:
    """Fit the project on 1,000 images, of which some have labels; top-1 on the others, per cent."""
    lightning.seed_everything(seed, verbose=False)
    order = torch.randperm(len(images))
    train, test = order[:1000], order[1000:]
    known = labels[train].clone()
    known[LABELLED:] = -1  # every batch has images without a label: the encoder learns from them as well
    trainer = lightning.Trainer(
        callbacks=list(callbacks),  # line 3
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    project = Project()
    trainer.fit(project, DataLoader(TensorDataset(images[train], known), batch_size=100, shuffle=True))
    (scores,) = trainer.test(
        project, DataLoader(TensorDataset(images[test], labels[test]), batch_size=len(test)), verbose=False
    )
    return scores["top1"]


# %%
rule = {"encoder.*": HPCA(max_lr=0.02)}
print(f"top-1 with {LABELLED} labels, mean of {SEEDS} seeds:")
for name, how in [
    ("without the callback: backprop", None),
    ("control: encoder at rest", {"local_scale": 0.0}),
    ("encoder learns by HPCA", {}),
    ("by HPCA and backprop together", {"hybrid": True}),
]:
    found = [accuracy(seed, *([] if how is None else [HebbianCallback(rule, **how)])) for seed in range(SEEDS)]
    print(f"{name:32} {sum(found) / SEEDS:.1f}")
