"""Attach, then compile: forward and `write_grad` without a graph break, and the same numbers as without compiling."""

import copy
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fasthebb
from fasthebb import HPCA, ICA, SWTA, WTA, Hebb, KrotovHopfield, Oja, PolynomialWTA, SoftHebb
from fasthebb.kernels.triangle import cheaper_form

pytestmark = [
    pytest.mark.usefixtures("fresh_compiler"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*"),
]


def learned(model: nn.Sequential, images: Tensor, rule: fasthebb.Rule, compiled: Any) -> dict[str, Tensor]:
    """The weights after two steps of two micro-batches, and the output after them."""
    model = copy.deepcopy(model)
    plasticity = fasthebb.attach(model, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.1)
    forward = model if compiled is None else torch.compile(model, fullgraph=True, **compiled)
    write_grad = plasticity.write_grad
    if compiled is not None:
        write_grad = torch.compile(plasticity.write_grad, fullgraph=True, **compiled)
    for _ in range(2):
        with torch.no_grad():
            forward(images[:3])
            forward(images[3:])
        write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.check()
    with torch.no_grad():
        return {**model.state_dict(), **plasticity.state_dict(), "out": forward(images)}


@pytest.mark.parametrize(
    "rule",
    [
        HPCA(max_lr=0.1),
        SWTA(),
        WTA(k=2),
        PolynomialWTA(),
        Hebb(),
        Oja(),
        KrotovHopfield(),
        SoftHebb(initial_scale=None),
        ICA(hierarchical=True, normalised=True),
    ],
    ids=str,
)
def test_compiled_forward_and_write_grad_give_the_weights_of_eager(
    network: nn.Sequential, images: Tensor, rule: fasthebb.Rule
) -> None:
    expected = learned(network, images, rule, None)
    actual = learned(network, images, rule, {"backend": "aot_eager"})
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_kind_of_convolution_compiles(dims: int, rule: Any) -> None:
    down, up = getattr(nn, f"Conv{dims}d"), getattr(nn, f"ConvTranspose{dims}d")
    model = nn.Sequential(down(2, 4, 3, padding=1, groups=2), nn.ReLU(), up(4, 3, 3, stride=2, output_padding=1))
    images = torch.randn(6, 2, *[4] * dims)
    torch.testing.assert_close(
        learned(model, images, rule, {"backend": "aot_eager"}), learned(model, images, rule, None)
    )


def test_a_wide_layer_compiles_in_blocks_of_neurons() -> None:
    assert cheaper_form(samples=3, neurons=300, inputs=96) == "blocks"
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Linear(96, 300), nn.ReLU()), torch.randn(6, 96)
    expected = learned(model, images, HPCA(), None)
    torch.testing.assert_close(learned(model, images, HPCA(), {"backend": "aot_eager"}), expected)
    graphs: list[str] = []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph.code)
        return graph.forward

    learned(model, images, HPCA(), {"backend": count})
    assert any("cat" in code for code in graphs)  # out of place: a write into a block would copy the whole update


def test_one_compiled_function_may_hold_the_whole_step(network: nn.Sequential, images: Tensor, rule: Any) -> None:
    plain = copy.deepcopy(network)
    plasticity, expected = fasthebb.attach(network, rule), fasthebb.attach(plain, rule)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def step(x: Tensor) -> None:
        with torch.no_grad():
            network(x)
        plasticity.write_grad()

    step(images)
    plain(images)
    expected.write_grad()
    for mine, theirs in zip(plasticity.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_the_gradient_flows_through_the_norm_of_a_compiled_layer(network: nn.Sequential, images: Tensor) -> None:
    plain = copy.deepcopy(network)
    plasticity, expected = fasthebb.attach(network, SWTA()), fasthebb.attach(plain, SWTA())
    torch.compile(network, backend="aot_eager", fullgraph=True)(images).square().sum().backward()
    plain(images).square().sum().backward()
    plasticity.write_grad()
    expected.write_grad()
    for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("how", ["function", "method", "inside"])
def test_attaching_to_a_compiled_model_raises_and_says_so(network: nn.Sequential, rule: Any, how: str) -> None:
    model: nn.Module = network
    if how == "method":
        network.compile(backend="eager")
    else:
        model = torch.compile(network, backend="eager")
    if how == "inside":
        model = nn.Sequential(nn.Linear(2, 2), model)
    with pytest.raises(
        RuntimeError, match="found a compiled model, whose forward pass ignores new hooks: attach, then"
    ):
        fasthebb.attach(model, rule)
    assert not any(module._forward_hooks for module in network.modules())


def test_compile_and_detach_and_the_outputs_are_the_same(network: nn.Sequential, images: Tensor, rule: Any) -> None:
    plasticity = fasthebb.attach(network, rule)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        before = compiled(images)
        assert plasticity.deltas().keys() == {"0", "3"}
        plasticity.write_grad()
        plasticity.detach()
        torch.testing.assert_close(compiled(images), before)
        torch.testing.assert_close(network(images), before)


def test_code_compiled_for_one_model_is_not_run_on_another_with_other_hooks(
    network: nn.Sequential, images: Tensor, rule: Any
) -> None:
    attached, plain = copy.deepcopy(network), network
    attached[0].weight.data *= 2
    plain[0].weight.data *= 2

    @torch.compile(backend="eager", fullgraph=True)
    def run(model: nn.Module, x: Tensor) -> Tensor:
        out: Tensor = model(x)
        return out

    plasticity = fasthebb.attach(attached, rule)
    with torch.no_grad():
        torch.testing.assert_close(run(plain, images), plain(images))
        torch.testing.assert_close(run(attached, images), attached(images))
        plasticity.clear()
        run(attached, images)
        assert plasticity.deltas().keys() == {"0", "3"}
        torch.testing.assert_close(run(plain, images), plain(images))


def test_modes_hold_for_compiled_code(network: nn.Sequential, images: Tensor, rule: Any) -> None:
    plasticity = fasthebb.attach(network, rule)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        compiled(images)
        plasticity.clear()
        with plasticity.paused():
            compiled(images)
        network.eval()
        compiled(images)
        assert plasticity.deltas() == {}
        network.train()
        compiled(images)
        assert plasticity.deltas().keys() == {"0", "3"}


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="under fullgraph PyTorch drops what a with statement raises on Python 3.10"
)
def test_an_early_send_cannot_be_compiled(network: nn.Sequential, images: Tensor, rule: Any) -> None:
    plasticity = fasthebb.attach(network, rule)

    @torch.compile(backend="eager", fullgraph=True)
    def run() -> None:
        with plasticity.last_micro_batch():
            network(images)

    with pytest.raises(RuntimeError, match="cannot be compiled"):
        run()
