"""Which precision a machine computes fast in."""

from typing import Literal

import torch

Precision = Literal["32-true", "bf16-mixed"]


def fast_precision() -> Precision:
    """ "bf16-mixed" where the GPU, or else the processor, has units for products in bfloat16, "32-true" elsewhere.

    A processor without them emulates such products, which takes several times as long as float32.

    >>> fast_precision() in ("32-true", "bf16-mixed")
    True
    """
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities()
        fast = any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bf16-mixed" if fast else "32-true"
