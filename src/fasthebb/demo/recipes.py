"""What the demo compares: the best of the trials of ``benchmarks/tune_demo.py`` that fit into two minutes.

The trials ran with seeds 100 to 104, on the validation images; the demo shows seeds 0 to 9, on the test images.
"""

from dataclasses import dataclass, replace

from fasthebb import HPCA, SWTA, Rule

IMAGE_SIZE = 24
WIDTH = 0.25
HIDDEN = 256
BATCH_SIZE = 64


@dataclass(frozen=True)
class Recipe:
    """One way from images and a few labels to a classifier.

    Attributes:
        name: as the table shows it.
        rule: of the pre-training; ``None`` is backprop alone.
        layers: names of the layers that learn by it; ``None`` is every hidden layer.
        whiten: whether pixels are decorrelated.
        pretrain_lr: learning rate of the rule.
        pretrain_epochs: passes over the unlabelled images.
        lr: learning rate of the fine-tuning.
        weight_decay: L2 penalty of the fine-tuning.
        epochs: passes over the labelled images.
    """

    name: str
    rule: Rule | None = None
    layers: tuple[str, ...] | None = None
    whiten: bool = False
    pretrain_lr: float = 0.03
    pretrain_epochs: int = 5
    lr: float = 3e-2
    weight_decay: float = 5e-2
    epochs: int = 40

    @property
    def learns(self) -> bool:
        """Whether anything is learned without labels."""
        return self.rule is not None and self.pretrain_lr > 0

    def control(self) -> "Recipe":
        """The same with learning rate 0, where one epoch leaves what any number would: only batch norm adapts."""
        return replace(self, name=self.name.partition(" ")[0] + " control", pretrain_lr=0.0, pretrain_epochs=1)


BACKPROP = Recipe("backprop alone")
HPCA_RECIPE = Recipe(
    "HPCA + backprop",
    rule=HPCA(max_lr=0.1),
    layers=("conv1", "conv2"),
    pretrain_lr=0.1,
    lr=0.009,
)
SWTA_RECIPE = Recipe("SWTA + backprop", rule=SWTA(), whiten=True)
RECIPES = [BACKPROP, HPCA_RECIPE.control(), SWTA_RECIPE.control(), HPCA_RECIPE, SWTA_RECIPE]
