import pytest
import torch
from torch import Tensor, nn

from fasthebb.evaluation import knn_top1, layer_scores, retrieval_scores, svm_top1


class Sorting(nn.Module):
    """A network whose second layer has the class, and whose third has lost it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(3, 2))
        with torch.no_grad():
            for layer in self.features:
                layer.bias.zero_()
                layer.weight.zero_()
            self.features[0].weight[:4] = torch.eye(4)
            self.features[1].weight[:, 1:4] = 5 * torch.eye(3)
            self.features[2].weight.fill_(1.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def batch(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = 3 * torch.randn(count, 1, generator=generator)
    return [(torch.cat([noise, torch.eye(3)[labels]], dim=1), labels)]


def test_the_layer_that_has_the_classes_is_found() -> None:
    rows = layer_scores(Sorting(), batch(60, 0), batch(30, 1))
    assert [(row["layer"], row["size"]) for row in rows] == [("features.0", 6), ("features.1", 3), ("features.2", 2)]
    first, second, third = rows
    assert (second["knn"], second["svm"]) == (100.0, 100.0)
    assert second["retrieval"]["map_at_class_size"] == pytest.approx(100.0)
    assert second["binary_retrieval"]["map_at_class_size"] == pytest.approx(100.0)
    assert first["retrieval"]["precision_at_class_size"] < 80
    assert third["knn"] < 60
    assert third["svm"] < 60


def test_a_row_holds_what_the_readers_say_of_its_layer() -> None:
    model = Sorting()
    (row,) = layer_scores(model, batch(60, 0), batch(30, 1), layers=["features.0"], groups=None)
    with torch.no_grad():
        (train, labels), (test, test_labels) = (
            (model.features[0](images), labels) for images, labels in (*batch(60, 0), *batch(30, 1))
        )
    data = (train, labels, test, test_labels)
    assert row == {
        "layer": "features.0",
        "size": 6,
        "knn": knn_top1(*data),
        "svm": svm_top1(*data),
        "retrieval": retrieval_scores(*data),
        "binary_retrieval": retrieval_scores(*data, binary=True),
    }
