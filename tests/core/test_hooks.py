"""What a hook must and must not do."""

import copy
import gc
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_rules import Total
from reference import assert_near
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import fasthebb
from fasthebb import HPCA, SWTA, Rule, Sums, Synapse

Snapshot = Callable[[nn.Module], dict[str, Tensor]]


def deltas_of(model: nn.Module, rule: Rule, run: Callable[[nn.Module], Any]) -> dict[str, Tensor]:
    """What a fresh copy of ``model`` learns in ``run``."""
    copied = copy.deepcopy(model)
    plasticity = fasthebb.attach(copied, rule)
    run(copied)
    return plasticity.deltas()


# --- precision ----------------------------------------------------------------------------------------------------


def dtypes_of_sums(plasticity: fasthebb.Plasticity) -> set[torch.dtype]:
    values = [value for learner in plasticity._learners for _, value in learner.sums.items()]  # type: ignore[union-attr]
    return {value.dtype for value in values if isinstance(value, Tensor)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_sums_are_at_least_float32(network: nn.Sequential, images: Tensor, rule: Rule, dtype: torch.dtype) -> None:
    plasticity = fasthebb.attach(network.to(dtype), rule)
    for _ in range(2):
        network(images.to(dtype))
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert dtypes_of_sums(plasticity) == {expected}
    assert {delta.dtype for delta in plasticity.deltas().values()} == {expected}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_sums_are_float32_and_follow_the_update(rule: Rule, dtype: torch.dtype) -> None:
    """The layer's own output is in half precision, and that is all of what is lost."""
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 6), torch.randn(64, 40).to(dtype).float()
    layer.weight.data = layer.weight.data.to(dtype).float()
    exact = deltas_of(layer, rule, lambda model: model(x))[""]
    plasticity = fasthebb.attach(layer, rule)
    with torch.autocast("cpu", dtype=dtype):
        layer(x)
    assert dtypes_of_sums(plasticity) == {torch.float32}
    assert_near(plasticity.deltas()[""], exact, 0.05)


def test_many_half_precision_micro_batches_do_not_swallow_each_other() -> None:
    layer = nn.Linear(2, 1, bias=False).bfloat16()
    layer.weight.data.fill_(1.0)
    plasticity = fasthebb.attach(layer, SWTA())
    for _ in range(600):  # bfloat16 counts to 256
        layer(torch.ones(1, 2).bfloat16())
    (learner,) = plasticity._learners
    assert learner.sums is not None
    assert float(learner.sums.share) == 600


def test_float16_does_not_overflow_in_sums_over_positions(rule: Rule) -> None:
    layer, x = nn.Conv2d(1, 2, 1, bias=False), torch.full((4, 1, 64, 64), 30.0)
    exact = deltas_of(layer, rule, lambda model: model(x))[""]

    def under_autocast(model: nn.Module) -> None:
        with torch.autocast("cpu", dtype=torch.float16):
            model(x)

    assert_near(deltas_of(layer, rule, under_autocast)[""], exact, 0.02)
    half = deltas_of(layer.half(), rule, lambda model: model(x.half()))[""]
    assert_near(half, exact, 0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_local_step_under_autocast_keeps_the_weights_dtype(
    network: nn.Sequential, images: Tensor, rule: Rule, dtype: torch.dtype
) -> None:
    plasticity = fasthebb.attach(network, rule)
    with torch.autocast("cpu", dtype=dtype), torch.no_grad():
        network(images)
        plasticity.write_grad()
    for weight in plasticity.parameters():
        assert weight.grad is not None
        assert weight.grad.dtype == torch.float32
        assert weight.grad.isfinite().all()


# --- input and output ---------------------------------------------------------------------------------------------


def test_an_in_place_relu_after_the_layer_changes_nothing(images: Tensor, rule: Rule) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5), nn.ReLU())
    expected = deltas_of(model, rule, lambda m: m(images))
    model[1].inplace = model[4].inplace = True
    for run in (lambda m: m(images), lambda m: m(images).sum().backward()):
        assert all(torch.equal(delta, expected[name]) for name, delta in deltas_of(model, rule, run).items())


def test_an_input_overwritten_after_the_call_changes_nothing(rule: Rule) -> None:
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    expected = deltas_of(layer, rule, lambda m: m(x))[""]

    def run(model: nn.Module) -> None:
        own = x.clone()
        out = model(own)
        own.zero_()
        out.detach().zero_()

    assert torch.equal(deltas_of(layer, rule, run)[""], expected)


def test_no_reference_to_input_or_output_is_kept(network: nn.Sequential, images: Tensor, rule: Rule) -> None:
    fasthebb.attach(network, rule)
    seen: list[Tensor] = []
    network[0].register_forward_hook(lambda module, args, output: seen.extend([args[0], output]))
    with torch.no_grad():
        network(images)
    memory = {tensor.untyped_storage().data_ptr() for tensor in seen}
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) is Tensor and not thing.is_meta]
    known = {id(tensor) for tensor in [*seen, images]}
    assert known <= {id(tensor) for tensor in tensors}
    others = [t for t in tensors if id(t) not in known and t.untyped_storage().data_ptr() in memory]
    assert others == []


@pytest.mark.parametrize("kernel", [1, 3])
def test_nothing_that_the_caller_or_autograd_holds_is_modified(rule: Rule, kernel: int) -> None:
    layer, x = nn.Conv2d(2, 4, kernel, padding=1, padding_mode="reflect"), torch.randn(3, 2, 5, 5, requires_grad=True)
    kept_x, weight = x.detach().clone(), layer.weight.detach().clone()
    probe = torch.randn_like(layer(x))
    plasticity = fasthebb.attach(layer, rule)
    out = layer(x)
    kept_out = out.detach().clone()
    versions = x._version, layer.weight._version, out._version
    plasticity.deltas()
    (out * probe).sum().backward()  # raises where something saved was written to
    assert (x._version, layer.weight._version, out._version) == versions
    assert torch.equal(x, kept_x)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(out, kept_out)


def test_the_graph_holds_nothing_of_the_rule(network: nn.Sequential, images: Tensor, rule: Rule) -> None:
    plasticity = fasthebb.attach(network, rule)
    network(images)
    assert not any(delta.requires_grad for delta in plasticity.deltas().values())
    plasticity.write_grad()
    assert not any(p.grad.requires_grad for p in plasticity.parameters() if p.grad is not None)


def test_a_keyword_input_is_an_input(images: Tensor, rule: Rule) -> None:
    layer = nn.Conv2d(2, 4, 3)
    expected = deltas_of(layer, rule, lambda m: m(images))[""]
    assert torch.equal(deltas_of(layer, rule, lambda m: m(input=images))[""], expected)


def test_a_forward_pass_in_inference_mode_learns(network: nn.Sequential, images: Tensor, rule: Rule) -> None:
    expected = deltas_of(network, rule, lambda m: m(images))
    plasticity = fasthebb.attach(network, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.1)
    for _ in range(2):  # gradients and sums are ordinary tensors that the optimizer can clear in place
        with torch.inference_mode():
            network(images.clone())
            network(images.clone())
        plasticity.write_grad()
        assert all(not p.grad.is_inference() for p in plasticity.parameters() if p.grad is not None)
        optimizer.zero_grad(set_to_none=False)
    network(images)
    for name, delta in plasticity.deltas().items():
        torch.testing.assert_close(delta, expected[name])


def test_a_gradient_is_an_ordinary_tensor_even_if_it_is_a_sum_of_inference_mode() -> None:
    layer = nn.Linear(3, 2)
    plasticity = fasthebb.attach(layer, Total())
    with torch.inference_mode():
        layer(torch.randn(4, 3))
    plasticity.write_grad()
    assert layer.weight.grad is not None
    layer.weight.grad.zero_()


def test_mixed_modes_add_up(network: nn.Sequential, images: Tensor, rule: Rule) -> None:
    expected = deltas_of(network, rule, lambda m: m(images))

    def run(model: nn.Module) -> None:
        with torch.inference_mode():
            model(images[:2])
        with torch.no_grad():
            model(images[2:4])
        model(images[4:])

    for name, delta in deltas_of(network, rule, run).items():
        torch.testing.assert_close(delta, expected[name])


# --- calls that do not count --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_during_backward_is_not_seen_twice(
    network: nn.Sequential, images: Tensor, rule: Rule, reentrant: bool
) -> None:
    first, second = images[:2].requires_grad_(), images[2:]  # without it the reentrant form finds nothing to do
    plain = copy.deepcopy(network)
    plasticity, expected = fasthebb.attach(network, rule), fasthebb.attach(plain, rule)
    plain(first).square().sum().backward()
    checkpoint(network, first, use_reentrant=reentrant).square().sum().backward()
    plain(second)
    network(second)  # had the first ones counted twice, the mean would be another one
    for name, delta in plasticity.deltas().items():
        torch.testing.assert_close(delta, expected.deltas()[name])
    for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_a_deep_copy_keeps_the_function_and_feeds_nobody(network: nn.Sequential, images: Tensor, rule: Rule) -> None:
    plasticity = fasthebb.attach(network, rule)
    copied = copy.deepcopy(network)
    torch.testing.assert_close(copied(images), network(images))
    before = plasticity.deltas()
    copied(images)
    assert all(torch.equal(delta, before[name]) for name, delta in plasticity.deltas().items())
    out = copied(images)
    plasticity.detach()
    torch.testing.assert_close(copied(images), out)


def through_pickle(model: nn.Module) -> Any:
    return pickle.loads(pickle.dumps(model))


def through_torch_save(model: nn.Module) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


every_copy = pytest.mark.parametrize("through", [copy.deepcopy, through_pickle, through_torch_save])


@every_copy
def test_a_saved_model_keeps_the_function_and_feeds_nobody(
    network: nn.Sequential, images: Tensor, rule: Rule, through: Callable[[nn.Module], Any]
) -> None:
    plasticity = fasthebb.attach(network, rule)
    loaded = through(network)
    torch.testing.assert_close(loaded(images), network(images))
    plasticity.clear()
    loaded(images)
    assert plasticity.deltas() == {}


@every_copy
def test_a_copy_can_learn_again(
    network: nn.Sequential, images: Tensor, rule: Rule, through: Callable[[nn.Module], Any]
) -> None:
    plasticity = fasthebb.attach(network, rule)
    copied = through(network)
    again = fasthebb.attach(copied, rule)
    torch.testing.assert_close(copied(images), network(images))
    for name, delta in again.deltas().items():
        torch.testing.assert_close(delta, plasticity.deltas()[name])
    before = copied(images)
    again.detach()
    assert not any(module._forward_hooks for module in copied.modules())
    torch.testing.assert_close(copied(images), before)


def test_a_copy_of_normalised_layers_is_not_given_a_rule_that_would_change_its_function(
    network: nn.Sequential, images: Tensor
) -> None:
    fasthebb.attach(network, SWTA())
    copied = copy.deepcopy(network)
    before = copied(images)
    with pytest.raises(ValueError, match=r"'0' was copied while SWTA was attached.*SWTA\(\)\)\.detach\(\)"):
        fasthebb.attach(copied, HPCA())
    assert torch.equal(copied(images), before)
    fasthebb.attach(copied, SWTA()).detach()
    fasthebb.attach(copied, HPCA())
    torch.testing.assert_close(copied(images), before)


# --- weights that change at the wrong time ------------------------------------------------------------------------


def optimizer_step(model: nn.Sequential) -> None:
    model(torch.randn(2, 2, 5, 5)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def in_place(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[0].weight.mul_(0.9)
        model[3].weight.mul_(0.9)


@pytest.mark.parametrize("change", [optimizer_step, in_place])
@pytest.mark.parametrize("then", ["forward", "deltas", "write_grad"])
def test_a_weight_that_changed_since_its_first_sum_is_an_error(
    network: nn.Sequential, images: Tensor, rule: Rule, change: Callable[[nn.Module], None], then: str
) -> None:
    plasticity = fasthebb.attach(network, rule)
    network(images)
    change(network)
    with pytest.raises(RuntimeError, match=r"weight of layer '0' changed after it had learned.*write_grad\(\) before"):
        network(images) if then == "forward" else getattr(plasticity, then)()
    plasticity.clear()
    network(images)
    plasticity.write_grad()


def test_a_weight_that_changes_between_updates_is_none(network: nn.Sequential, images: Tensor, rule: Rule) -> None:
    plasticity = fasthebb.attach(network, rule)
    for _ in range(2):
        network(images)
        plasticity.write_grad()
        in_place(network)


# --- the host does not wait ---------------------------------------------------------------------------------------


class RefuseToWait(TorchDispatchMode):
    """Raises where an operation would bring a number from the device to the host, or depends on one."""

    waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.waits:
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bounded", [HPCA(), HPCA(max_lr=0.1), SWTA()], ids=str)
def test_a_step_does_not_read_from_the_device(network: nn.Sequential, images: Tensor, bounded: Rule) -> None:
    plasticity = fasthebb.attach(network, bounded)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=0.1)
    with RefuseToWait():
        for _ in range(2):
            with torch.no_grad():
                network(images)
            plasticity.write_grad()
            optimizer.step()
            optimizer.zero_grad()
        with pytest.raises(AssertionError, match="waits for the device"):
            bool(images.sum() > 0)  # it does refuse


@pytest.mark.parametrize("bounded", [HPCA(), HPCA(max_lr=0.1), SWTA()], ids=str)
def test_a_step_runs_where_there_is_no_data_at_all(bounded: Rule) -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(36, 5))
        images = torch.randn(6, 2, 5, 5)
    plasticity = fasthebb.attach(model, bounded)
    model(images)
    plasticity.write_grad()
    for weight in plasticity.parameters():
        assert weight.grad is not None
        assert weight.grad.is_meta
        assert weight.grad.stride() == weight.stride()
    with pytest.raises(NotImplementedError, match="meta tensor"):  # torch's own, for there is nothing to read
        plasticity.check()  # the one place where the host waits


def test_state_follows_the_model_to_its_device(network: nn.Sequential, images: Tensor) -> None:
    plasticity = fasthebb.attach(network, HPCA(max_lr=0.1))
    network.to("meta")
    network(images.to("meta"))
    plasticity.write_grad()
    assert all(value.is_meta for value in plasticity.state_dict().values())


def test_state_and_sums_follow_the_models_dtype(network: nn.Sequential, images: Tensor) -> None:
    plasticity = fasthebb.attach(network, HPCA(max_lr=0.1))
    network(images)
    plasticity.write_grad()
    network.zero_grad()
    network.double()
    network(images.double())
    plasticity.write_grad()
    assert all(p.grad is not None and p.grad.dtype == torch.float64 for p in plasticity.parameters())


# --- large activations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [1, 36, 100])
def test_chunks_of_images_give_the_sums_of_all(
    network: nn.Sequential, images: Tensor, rule: Rule, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.double()
    expected = deltas_of(network, rule, lambda m: m(images.double()))
    monkeypatch.setattr("fasthebb.plasticity.learner.CHUNK_ELEMENTS", elements)
    for name, delta in deltas_of(network, rule, lambda m: m(images.double())).items():
        torch.testing.assert_close(delta, expected[name], rtol=1e-9, atol=1e-12)


def test_a_rule_gets_no_more_than_a_chunk_and_at_least_one_image(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Spy(HPCA):
        def sums(self, synapse: Synapse, x: Tensor, s: Tensor) -> Sums:
            sizes.append(s.numel())
            return super().sums(synapse, x, s)

    monkeypatch.setattr("fasthebb.plasticity.learner.CHUNK_ELEMENTS", 80)
    layer = nn.Conv2d(2, 4, 3)  # 36 outputs an image
    fasthebb.attach(layer, Spy())
    layer(images[:5])
    assert sizes == [72, 72, 36]
    sizes.clear()
    layer(torch.randn(2, 2, 9, 9))
    assert sizes == [4 * 49] * 2
