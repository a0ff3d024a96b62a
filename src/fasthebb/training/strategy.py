"""How several processes train one module: Lightning's DDP, without its reducer where there is nothing to reduce."""

from typing import Any

import lightning
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy

from fasthebb.training.synchronised_batch_norm import plain_batch_norms, synchronise_batch_norms


class Together(DDPStrategy):
    """A process a device; batch norms are those of the joined batch while a module is fitted.

    A module with automatic optimisation is wrapped in DistributedDataParallel, which averages its gradients. One with
    manual optimisation, such as `HebbianPretraining`, adds up its sums itself in ``write_grad`` and has no backward
    pass that a reducer would wait for: it is not wrapped, and only begins with the weights of the first process.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(broadcast_buffers=False, **more)  # synchronised batch norms are the same everywhere

    def setup(self, trainer: lightning.Trainer) -> None:
        """Synchronise batch norms and set the module up for the processes."""
        synchronise_batch_norms(self._fitted, self.root_device)
        super().setup(trainer)

    def configure_ddp(self) -> None:
        """Wrap the module, or give all processes the weights of the first."""
        if self._fitted.automatic_optimization:
            super().configure_ddp()
            return
        for value in [*self._fitted.parameters(), *self._fitted.buffers()]:
            dist.broadcast(value.detach(), src=0)

    @property
    def _fitted(self) -> lightning.LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    def teardown(self) -> None:
        """Leave plain batch norms."""
        if self.lightning_module is not None:
            plain_batch_norms(self.lightning_module)
        super().teardown()
