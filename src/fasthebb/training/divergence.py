"""Weights that cease to be finite: noticed soon, never written to a checkpoint, gone back on if that is asked for."""

import warnings
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fasthebb import NonFiniteError
from fasthebb.training.checkpoints import LAST, last_checkpoint

OnDivergence = Literal["stop", "rollback"]
CHECK_EVERY = 50
MOST_ROLLBACKS = 5


class Divergence(Callback):
    """Look for weights that are not finite every 50 steps and before every checkpoint; go back if asked to.

    Going back means: from the last checkpoint on with half the learning rate, at most five times. A checkpoint of the
    beginning is written for that. What happened is in every later checkpoint, see `rollbacks`.

    Args:
        folder: of the checkpoints.
        on: "stop" or "rollback".

    Attributes:
        rollbacks: for each time `step`, `epoch`, the `lr` from there on, and the `cause`.
    """

    def __init__(self, folder: str | Path, on: OnDivergence = "stop") -> None:
        self.folder, self.on = Path(folder), on
        self.rollbacks: list[dict[str, Any]] = []
        self._applied = 0  # how many of them the optimizer's learning rates know of
        self._lr: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """What is kept in checkpoints."""
        return {"rollbacks": self.rollbacks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of a run that is gone on with; of one that has just gone back, the checkpoint knows less than this object."""
        self._applied = len(state_dict["rollbacks"])
        if self._applied > len(self.rollbacks):
            self.rollbacks = list(state_dict["rollbacks"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Set the learning rate, and keep the beginning."""
        if self._lr is None:
            self._lr = float(pl_module.lr)  # type: ignore[arg-type]
        pl_module.lr = self._lr / 2 ** len(self.rollbacks)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] /= 2 ** (len(self.rollbacks) - self._applied)
        self._applied = len(self.rollbacks)
        if self.on == "rollback" and trainer.global_step == 0 and not (self.folder / LAST).exists():
            trainer.save_checkpoint(self.folder / LAST)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the weights now and then: the host waits for the device."""
        if (batch_idx + 1) % CHECK_EVERY == 0:
            require_finite(pl_module)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to write what nobody can go on from."""
        require_finite(pl_module)

    def go_back(self, trainer: lightning.Trainer, error: NonFiniteError) -> Path:
        """The checkpoint to go on from with half the learning rate.

        Raises:
            NonFiniteError: going back was not asked for, or does not help; with the step.
        """
        step, epoch = trainer.global_step, trainer.current_epoch
        noticed = f"{error} (noticed at step {step}, in epoch {epoch})"
        if self.on == "stop":
            raise NonFiniteError(
                f"{noticed}; --on-divergence rollback goes on from the last checkpoint with half the learning rate"
            ) from error
        checkpoint = last_checkpoint(self.folder)
        if checkpoint is None or self._lr is None:
            raise NonFiniteError(f"{noticed}, and there is no checkpoint to go back to") from error
        if len(self.rollbacks) == MOST_ROLLBACKS:
            raise NonFiniteError(
                f"{noticed}, although the learning rate was halved {MOST_ROLLBACKS} times: start again, with one far "
                "below, in another --out"
            ) from error
        lr = self._lr / 2 ** (len(self.rollbacks) + 1)
        self.rollbacks = [*self.rollbacks, {"step": step, "epoch": epoch, "lr": lr, "cause": str(error)}]
        warnings.warn(
            f"{noticed}: going back to the last checkpoint, with the learning rate {lr:g} from there on",
            UserWarning,
            stacklevel=3,
        )
        return checkpoint


def require_finite(module: lightning.LightningModule) -> None:
    """Refuse weights that are not finite; the host waits for the device once.

    Raises:
        NonFiniteError: naming the layer of the first.

    >>> layer = lightning.LightningModule()
    >>> layer.dense = torch.nn.Linear(2, 2)
    >>> _ = torch.nn.init.constant_(layer.dense.bias, torch.inf)
    >>> require_finite(layer)
    Traceback (most recent call last):
    ...
    fasthebb...NonFiniteError: the weights of layer 'dense' (bias) are no longer finite: use a smaller learning rate...
    """
    named = [(name, value.detach()) for name, value in module.named_parameters() if value.is_floating_point()]
    if not named:
        return
    norms: list[Tensor] = torch._foreach_norm([value for _, value in named], torch.inf)  # type: ignore[assignment]
    finite = torch.stack([norm.float().to(module.device) for norm in norms]).isfinite().tolist()
    for (name, _), fine in zip(named, finite, strict=True):
        if not fine:
            layer, _, which = name.removeprefix("model.").rpartition(".")
            raise NonFiniteError(
                f"the weights of layer {layer!r} ({which}) are no longer finite: use a smaller learning rate, and "
                "check the images for NaN"
            )


def rollbacks(checkpoints: str | Path) -> list[dict[str, Any]]:
    """How often a training has gone back, by the last checkpoint in the folder `checkpoints`; see `Divergence`.

    >>> rollbacks("no/such/folder")
    []
    """
    path = Path(checkpoints) / LAST
    if not path.is_file():
        return []
    states = torch.load(path, weights_only=True, map_location="cpu", mmap=True)["callbacks"]
    return list(states.get(Divergence.__name__, {}).get("rollbacks", []))
