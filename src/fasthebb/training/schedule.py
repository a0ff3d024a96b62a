"""The learning rate of backprop, epoch by epoch."""

from math import floor

CONSTANT_EPOCHS = 10
USUAL_EPOCHS = 20


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
