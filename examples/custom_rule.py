# %% [markdown]
"""
# A learning rule of your own

**What.** A rule is a frozen dataclass with two methods: what a batch adds to its sums, and the update as a function of
the sums. This one is BCM (Bienenstock, Cooper and Munro, Journal of Neuroscience 2, 1982): a neuron strengthens what
makes it respond above a threshold, weakens what makes it respond below, and the threshold follows its own mean squared
response. That threshold is the state of the rule: it lives with the layer, in checkpoints and on its device.

**For whom.** You study local learning, and want your equation on convolutions, in any dtype, over micro-batches and
over processes, without writing any of that.

**What to change.** `BCM`. Write your rule sample by sample as well, as `by_definition` does, and compare: it is the
shortest way to a correct one. `fasthebb pretrain --rule my_module.BCM --rule.memory 0.95` then trains by it as well.
"""

# %%
import os
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import fasthebb
from fasthebb import Rule, Sums, Synapse
from fasthebb.training import reestimate_batch_norm, ridge

# %%
SMALL = "EXAMPLE_SMALL" in os.environ  # a quick look, whose figures mean nothing
EPOCHS = 1 if SMALL else 10
NEURONS = 16 if SMALL else 64
LABELS = 10  # of each class, for the read-out
SEEDS = 2 if SMALL else 5


# %%
@dataclass(frozen=True)
class BCM(Rule):
    """``dw_i = y_i (y_i - theta_i) x``, ``y = relu(x W')``, ``theta_i`` the running mean of ``y_i^2``."""

    memory: float = 0.9

    def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
        """Responses ``s`` are ``(groups, N, neurons)``; ``correlate(q, x)`` is ``Q'X`` for every kind of layer."""
        y = s.relu()
        drive = y * (y - synapse.state["theta"][:, None])
        return Sums(update=synapse.correlate(drive, x), squares=y.square().sum(1), count=synapse.positions(s))

    def delta(self, sums: Sums, synapse: Synapse) -> Tensor:
        """``dW``, like the weight."""
        return sums.update / sums.count

    def initial_state(self, synapse: Synapse) -> dict[str, Tensor]:
        """The thresholds to start from."""
        return {"theta": torch.ones(synapse.groups, synapse.neurons, device=synapse.weight.device)}

    def next_state(self, sums: Sums, synapse: Synapse) -> dict[str, Tensor]:
        """Thresholds after an update, from the sums of every micro-batch and process."""
        return {"theta": self.memory * synapse.state["theta"] + (1 - self.memory) * sums.squares / sums.count}


# %% [markdown]
"""
Does it compute what its equation says? Here is the definition, one sample and one neuron after the other.
"""


# %%
def by_definition(weight: Tensor, x: Tensor, theta: float) -> Tensor:
    """The mean of ``dw_i`` over the samples."""
    total = torch.zeros_like(weight)
    for sample in x:
        for i, w in enumerate(weight):
            y = max(float(w @ sample), 0.0)
            total[i] += y * (y - theta) * sample
    return total / len(x)


torch.manual_seed(0)
layer, x = nn.Linear(7, 3, bias=False), torch.randn(20, 7)
plasticity = fasthebb.attach(layer, BCM())
layer(x)
torch.testing.assert_close(plasticity.deltas()[""], by_definition(layer.weight.detach(), x, theta=1.0))
print("BCM is what its equation says")
for kind in (nn.Conv2d(3, 8, 3, stride=2, groups=1), nn.Conv1d(3, 8, 5), nn.ConvTranspose2d(3, 8, 2, stride=2)):
    learning = fasthebb.attach(kind, BCM())
    kind(torch.randn(4, 3, *[12] * (kind.weight.dim() - 2)))
    print(f"and learns on {type(kind).__name__}: dW is {tuple(learning.deltas()[''].shape)}")

# %% [markdown]
"""
What is it worth? A layer learns from scikit-learn's digits without labels, a ridge regression reads it out with a few.
The control is the same layer with weights at rest.
"""

# %%
digits = load_digits()
X = torch.from_numpy(digits.data).float()
X = (X - X.mean()) / X.std()
y = torch.from_numpy(digits.target)


def accuracy(rule: Rule, lr: float, seed: int) -> float:
    """Top-1 of the read-out on the digits that it has not seen, per cent."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, NEURONS, bias=False), nn.ReLU(), nn.BatchNorm1d(NEURONS))
    learning = fasthebb.attach(net, rule)
    optimizer = torch.optim.SGD(learning.parameters(), lr=lr)
    order = torch.randperm(len(X))
    train, test = order[:1300], order[1300:]
    for _ in range(EPOCHS):
        for batch in train[torch.randperm(len(train))].split(64):
            with torch.no_grad():
                net(X[batch])
            learning.write_grad()
            optimizer.step()
            optimizer.zero_grad()
    learning.check()  # not a number anywhere?
    learning.detach()
    reestimate_batch_norm(net, [(X[train],)])
    with torch.no_grad():
        features = net(X)
    few = torch.cat([train[y[train] == c][:LABELS] for c in range(10)])
    read = ridge([features[few]], y[few], classes=10)
    predicted = (features[test] @ read.weight.T + read.bias).argmax(1)
    return 100 * float((predicted == y[test]).float().mean())


print(f"top-1 with {LABELS} labels a class, mean of {SEEDS} seeds:")
for name, rule, lr in [
    ("control: weights at rest", BCM(), 0.0),
    ("BCM", BCM(), 0.003),
    ("HPCA", fasthebb.HPCA(max_lr=0.1), 0.1),
]:
    print(f"{name:26} {sum(accuracy(rule, lr, seed) for seed in range(SEEDS)) / SEEDS:.1f}")
