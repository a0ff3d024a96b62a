"""What every rule must do, on every kind of layer.

A new rule is a line in `RULES`, its definition in `reference.DEFINITIONS`, and in `at_rest` where it stands still.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import assert_near, gradient_of, has_ties, labels_of, shares_of, unbatched_dims, update_by_definition
from sklearn.decomposition import PCA
from strategies import Setting, every_padding, settings_of_layers
from torch import Tensor, nn

import fasthebb
from fasthebb import (
    HPCA,
    ICA,
    SWTA,
    WTA,
    GlobalGuided,
    Hebb,
    Hybrid,
    KrotovHopfield,
    Oja,
    PolynomialWTA,
    Sanger,
    SoftHebb,
    SummedSWTA,
    naive,
)
from fasthebb.kernels import triangle
from fasthebb.synapses import Transposed as Form
from fasthebb.synapses import synapse_of

RULES: list[fasthebb.Rule] = [
    HPCA(),
    HPCA(activation="tanh"),
    HPCA(activation="identity", step_scale="none"),
    HPCA(max_lr=2.0),
    HPCA(classes=2),
    Sanger(),
    SWTA(),
    SWTA(temperature=0.3),
    SWTA(classes=2),
    WTA(),
    WTA(k=2),
    WTA(classes=2),
    PolynomialWTA(),
    SummedSWTA(),
    SummedSWTA(inverse_temperature=2.0),
    Hebb(),
    Hebb(activation="relu"),
    Oja(),
    KrotovHopfield(),
    SoftHebb(initial_scale=None),
    ICA(),
    ICA(normalised=True),
    ICA(hierarchical=True),
    ICA(hierarchical=True, normalised=True),
    GlobalGuided(),
    Hybrid(HPCA(), local=0.5, backprop=2.0),
]
NAIVE: list[fasthebb.Rule] = [
    naive.HPCA(),
    naive.HPCA(activation="tanh"),
    naive.HPCA(max_lr=2.0),
    naive.HPCA(classes=2),
    naive.SWTA(),
    naive.SWTA(temperature=0.3),
    naive.SWTA(classes=2),
]
pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")

every_rule = pytest.mark.parametrize("rule", [*RULES, *NAIVE], ids=lambda r: f"{type(r).__module__}.{r}")


def fast_form(rule: Any) -> fasthebb.Rule:
    """The rule of which ``rule`` is the definition, or itself."""
    if not isinstance(rule, (naive.HPCA, naive.SWTA)):
        return rule  # type: ignore[no-any-return]
    return (HPCA if isinstance(rule, HPCA) else SWTA)(**vars(rule))


def fits(rule: Any, layer: nn.Module, transposed: Form = "forward") -> bool:
    """Whether a layer has as many neurons as the rule ranks."""
    neurons: int = synapse_of(layer, transposed).neurons
    return getattr(rule, "k", 1) <= neurons


def update(rule: Any, layer: Any, *batches: Tensor, transposed: Form = "forward") -> Tensor:
    """``dW`` of a layer that has seen ``batches``."""
    plasticity = fasthebb.attach(layer, rule, transposed=transposed)
    with torch.no_grad():
        for batch in batches:
            images = batch if batch.dim() > unbatched_dims(layer) else batch[None]
            teacher = plasticity.teacher(labels_of(images, rule.classes)) if rule.supervised else nullcontext()
            with teacher:
                layer(batch)
    if rule.uses_gradient:
        layer.weight.grad = gradient_of(layer.weight).to(layer.weight.dtype)
    delta = plasticity.deltas()[""]
    for handle in plasticity._handles:  # not detach(), which folds norms into the weights
        handle.remove()
    return delta


@every_rule
@settings(max_examples=30, deadline=None)
@given(setting=settings_of_layers(), block=st.sampled_from([1, 2, 256]), chunk=st.sampled_from([1, 256 * 2**20]))
def test_equals_its_definition(rule: fasthebb.Rule, setting: Setting, block: int, chunk: int) -> None:
    layer, images, form = setting.layer(), setting.images(), setting.transposed
    assume(fits(rule, layer, form) and not has_ties(rule, layer, images, form))
    expected = update_by_definition(fast_form(rule), layer, images, form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triangle, "BLOCK", block)  # few neurons at once, as wide layers do
        patch.setattr(naive, "CHUNK_BYTES", chunk)
        assert_near(update(rule, layer, images, transposed=form), expected, 1e-9)
        single = update(rule, setting.layer(torch.float32), images.float(), transposed=form)
        assert_near(single, expected, 1e-4)


ASKING = [
    HPCA(max_lr=2.0),
    SWTA(),
    SummedSWTA(),
    Hebb(),
    KrotovHopfield(),
    ICA(normalised=True),
    GlobalGuided(),
    naive.HPCA(),
    naive.SWTA(),
]
"""Rules that between them put every question to a layer: rules never see padding, the answers do."""


@pytest.mark.parametrize("rule", ASKING, ids=lambda r: f"{type(r).__module__}.{r}")
def test_equals_its_definition_for_every_padding(rule: fasthebb.Rule) -> None:
    tried = 0
    for setting in every_padding():
        layer, images = setting.layer(), setting.images()
        if fits(rule, layer) and not has_ties(rule, layer, images):
            assert_near(update(rule, layer, images), update_by_definition(fast_form(rule), layer, images), 1e-9)
            tried += 1
    assert tried > 20


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 9])
def test_kernels_of_one_pixel_with_a_stride_read_the_right_pixels(channels: int) -> None:
    """oneDNN's own weight gradient is wrong here more often than not, and damages the heap."""
    for stride in ((1, 2), (2, 1), (2, 2), (3, 2)):
        layer = nn.Conv2d(channels, 4, 1, stride=stride).to(memory_format=torch.channels_last)
        for _ in range(20):
            images = torch.randn(3, channels, 8, 8).contiguous(memory_format=torch.channels_last)
            single = update(HPCA(), layer, images)
            assert_near(single, update(HPCA(), layer.double(), images.double()), 1e-4)
            layer.float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", [1, 2])
def test_an_image_without_batch_may_have_its_channels_innermost(kernel: int, dtype: torch.dtype) -> None:
    """torch's own weight gradient is wrong here."""
    image = torch.randn(5, 5, 4, dtype=dtype).movedim(-1, 0)
    for make in (nn.Conv2d, nn.ConvTranspose2d):
        layer = make(4, 6, kernel, groups=2).to(dtype)
        expected = update(HPCA(), layer, image.contiguous())
        layer.to(memory_format=torch.channels_last)
        for x in (image, image[None]):
            assert_near(update(HPCA(), layer, x), expected, 1e-5)


def test_images_smaller_than_the_kernel_are_padded_to_its_size() -> None:
    for dims in (1, 2, 3):
        layer = getattr(nn, f"Conv{dims}d")(2, 3, 3, padding=1).double()
        images = torch.randn(4, 2, *[1] * dims).double()
        for rule in (HPCA(), SWTA()):
            assert_near(update(rule, layer, images), update_by_definition(rule, layer, images), 1e-9)


def two_batches(setting: Setting) -> tuple[list[Tensor], Tensor]:
    """Two inputs and both as one."""
    parts = [setting.images(), setting.images().flip(-1) + 0.5]
    unbatched = parts[0].dim() == setting.unbatched_dims
    return parts, torch.stack(parts) if unbatched else torch.cat(parts)


@every_rule
@settings(max_examples=20, deadline=None)
@given(setting=settings_of_layers())
def test_micro_batches_add_up_to_the_whole_batch(rule: fasthebb.Rule, setting: Setting) -> None:
    (parts, whole), layer, form = two_batches(setting), setting.layer(), setting.transposed
    assume(fits(rule, layer, form))
    at_once = update(rule, layer, whole, transposed=form)
    assert_near(update(rule, layer, *parts, transposed=form), at_once, 1e-9)


@every_rule
@settings(max_examples=20, deadline=None)
@given(setting=settings_of_layers(), data=st.data())
def test_the_order_of_samples_does_not_matter(rule: fasthebb.Rule, setting: Setting, data: st.DataObject) -> None:
    whole, layer, form = two_batches(setting)[1], setting.layer(), setting.transposed
    assume(fits(rule, layer, form))
    order = data.draw(st.permutations(range(len(whole))))
    in_order = update(rule, layer, whole, transposed=form)
    assert_near(update(rule, layer, whole[list(order)], transposed=form), in_order, 1e-9)


@every_rule
@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: nn.Linear(4, 3), "forward"),
        (lambda: nn.Conv2d(4, 6, 2, padding=1, groups=2), "forward"),
        (lambda: nn.ConvTranspose2d(4, 6, 2, padding=1, groups=2), "forward"),
        (lambda: nn.ConvTranspose2d(4, 6, 1, padding=1, groups=2), "reversed"),  # what the border writes is cut off
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_updates_are_finite_where_a_division_could_fail(
    rule: fasthebb.Rule, make: Callable[[], nn.Module], form: Form, dtype: torch.dtype
) -> None:
    layer = make().to(dtype)
    shape = (5, 4) if isinstance(layer, nn.Linear) else (5, 4, 3, 3)
    silent = make().to(dtype)
    for parameter in silent.parameters():
        nn.init.zeros_(parameter)
    for images in (torch.zeros(shape), torch.ones(shape), torch.full(shape, -3.0), torch.randn(shape)[:1]):
        assert update(rule, layer, images.to(dtype), transposed=form).isfinite().all()
        assert update(rule, silent, images.to(dtype), transposed=form).isfinite().all()


@pytest.mark.parametrize("rule", [SWTA(temperature=1e-4), naive.SWTA(temperature=1e-4)], ids=repr)
def test_a_neuron_that_never_wins_does_not_move(rule: fasthebb.Rule) -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    delta = update(rule, layer, torch.tensor([[2.0, 0.0]]))
    assert torch.equal(delta, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def resting(rule: Any) -> bool:
    """Whether there is a known point; a teacher and a gradient have more to say than the rule."""
    return not rule.supervised and not isinstance(rule, Hybrid)


def at_rest(rule: Any) -> tuple[Tensor, Tensor]:
    """Weights and samples between which nothing is left to learn."""
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    samples = torch.randn(40, 5, dtype=torch.float64) * torch.arange(1.0, 6.0)
    components = torch.linalg.svd(samples, full_matrices=False).Vh
    one = torch.eye(4, dtype=torch.float64)[:1]
    if isinstance(rule, (SWTA, WTA, PolynomialWTA)):
        # Every weight is the mean of the samples, weighted with the squares of its shares.
        weight = samples[:3].clone()
        for _ in range(500):
            alike = ((1 + nn.functional.cosine_similarity(samples[:, None], weight[None], dim=-1)) / 2) ** 2
            shares = torch.stack([shares_of(rule, row) for row in alike]) ** 2
            weight = (shares / shares.sum(0)).T @ samples
        return weight, samples
    if isinstance(rule, SummedSWTA):  # every weight is the mean of the samples, weighted with its shares
        weight = samples[:3].clone()
        for _ in range(500):
            shares = torch.softmax(rule.inverse_temperature * samples @ nn.functional.normalize(weight).T, dim=1)
            weight = (shares / shares.sum(0)).T @ samples
        return weight, samples
    if isinstance(rule, (SoftHebb, GlobalGuided)):  # one neuron, along which all samples lie
        return one, torch.tensor([[2.0], [3.0]]).double() * one
    if isinstance(rule, KrotovHopfield):  # and its opposite, which is pushed
        return torch.cat([one, -one]), torch.tensor([[2.0], [3.0]]).double() * one
    if isinstance(rule, ICA):  # independent signs, of a size a with a tanh(a) = 1
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
        return torch.eye(3, dtype=torch.float64), signs * 1.1996786402577335
    if type(rule) is Hebb:  # weights that answer to nothing
        return axes[2:], torch.randn(40, 2, dtype=torch.float64) @ axes[:2]
    if isinstance(rule, Oja):  # the first component, found by each
        return components[:1].repeat(3, 1), samples
    assert isinstance(rule, HPCA)
    if rule.activation == "identity":  # the principal components
        return components[:3], samples
    # Each sample lies along one of the orthogonal weights, where its reconstruction f(x.w) w is the sample itself.
    gain = (1 / torch.tanh(torch.tensor(1.0, dtype=torch.float64))).sqrt() if rule.activation == "tanh" else 1.0
    return axes[:3] * gain, axes[:3] / gain


@pytest.mark.parametrize("rule", [r for r in [*RULES, *NAIVE] if resting(r)], ids=repr)
def test_the_known_fixed_point_is_one(rule: fasthebb.Rule) -> None:
    weight, samples = at_rest(rule)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
    layer.weight.data = weight
    assert update(rule, layer, samples).abs().max() < 1e-12
    layer.weight.data = weight + 0.1
    assert update(rule, layer, samples).abs().max() > 1e-3


def learn(rule: fasthebb.Rule, layer: nn.Module, samples: Tensor, lr: float, steps: int) -> None:
    plasticity = fasthebb.attach(layer, rule)
    optimizer = torch.optim.SGD(plasticity.parameters(), lr=lr)
    for _ in range(steps):
        with torch.no_grad():
            layer(samples)
        plasticity.write_grad()
        optimizer.step()
        optimizer.zero_grad()
    plasticity.detach()


def test_linear_hpca_finds_the_principal_components() -> None:
    torch.manual_seed(1)
    samples = torch.randn(300, 6) * torch.tensor([1.0, 3.0, 0.5, 2.0, 0.2, 0.1]) @ torch.linalg.qr(torch.randn(6, 6))[0]
    samples -= samples.mean(0)
    layer = nn.Linear(6, 3, bias=False)
    learn(HPCA(activation="identity", step_scale="none"), layer, samples, lr=0.05, steps=600)
    components = torch.from_numpy(PCA(n_components=3).fit(samples.numpy()).components_)
    signs = (layer.weight.detach() * components).sum(1, keepdim=True).sign()
    torch.testing.assert_close(layer.weight.detach() * signs, components, atol=1e-4, rtol=0)


def test_swta_finds_the_directions_of_separate_clusters() -> None:
    torch.manual_seed(1)
    centres = torch.eye(4) * 3
    samples = torch.cat([centre + 0.1 * torch.randn(25, 4) for centre in centres])
    layer = nn.Linear(4, 4, bias=False)
    layer.weight.data = torch.eye(4) + 0.3 * torch.rand(4, 4)
    learn(SWTA(), layer, samples, lr=0.2, steps=100)
    means = nn.functional.normalize(torch.stack([part.mean(0) for part in samples.chunk(4)]), dim=1)
    torch.testing.assert_close(layer.weight.detach(), means, atol=1e-2, rtol=0)
