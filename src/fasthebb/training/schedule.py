"""For how long backprop trains, and its learning rate, epoch by epoch."""

from math import ceil, floor

CONSTANT_EPOCHS = 10
USUAL_EPOCHS = 20
MOST_EPOCHS = 200
LOOKS = 100_000
"""At images, changed at random or not, that a training should have: few images are looked at the more often."""


def usual_epochs(images: int) -> int:
    """So many that 100,000 images are looked at, but at least 20 and at most 200.

    Measured on CIFAR-10 (``docs/findings.md``): 400 and 2,000 images are not learned in 20 epochs.

    >>> usual_epochs(400), usual_epochs(2000), usual_epochs(4000), usual_epochs(40_000)
    (200, 50, 25, 20)
    """
    return min(MOST_EPOCHS, max(USUAL_EPOCHS, ceil(LOOKS / max(1, images))))


def usual_stretch(epochs: int) -> float:
    """The stretch with which the learning rate falls as far in so many epochs as in 20, where they are more.

    >>> usual_stretch(100), usual_stretch(20), usual_stretch(5)
    (5.0, 1.0, 1.0)
    """
    return max(1.0, epochs / USUAL_EPOCHS)


def learning_rate(lr: float, epoch: int, stretch: float = 1.0) -> float:
    """Constant for ten epochs and then halved every epoch, both ``stretch`` times as long.

    >>> [learning_rate(1.0, epoch) for epoch in (0, 9, 10, 11)]
    [1.0, 1.0, 0.5, 0.25]
    >>> [learning_rate(1.0, epoch, stretch=2.0) for epoch in (19, 20, 21, 22)]
    [1.0, 0.5, 0.5, 0.25]
    """
    return lr * 0.5 ** max(0, floor((epoch - CONSTANT_EPOCHS * stretch) / stretch) + 1)
