import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_precision

from fasthebb.evaluation import retrieval, retrieval_scores


def drawn(seed: int, images: int, queries: int, size: int, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(images, size, generator=generator),
        torch.randint(classes, (images,), generator=generator),
        torch.randn(queries, size, generator=generator),
        torch.randint(classes, (queries,), generator=generator),
    )


def naive(
    database: Tensor, database_labels: Tensor, queries: Tensor, query_labels: Tensor, k: int, binary: bool
) -> dict[str, float]:
    """One query at a time, as the definition reads."""
    found: dict[str, list[float]] = {}
    for query, label in zip(queries.double().numpy(), query_labels.tolist(), strict=True):
        size = int((database_labels == label).sum())
        if size == 0:
            continue
        distances = []
        for image in database.double().numpy():
            if binary:
                distances.append(float(np.sum((image > 0) != (query > 0))))
            else:
                distances.append(1 - float(image @ query) / (np.linalg.norm(image) * np.linalg.norm(query)))
        order = sorted(range(len(distances)), key=lambda row: (distances[row], row))
        for name, depth in ((str(k), min(k, len(database))), ("class_size", size)):
            hits, precisions = 0, []
            for rank, row in enumerate(order[:depth], start=1):
                if database_labels[row] == label:
                    hits += 1
                    precisions.append(hits / rank)
            found.setdefault(f"precision_at_{name}", []).append(hits / depth)
            found.setdefault(f"map_at_{name}", []).append(sum(precisions) / len(precisions) if precisions else 0.0)
    return {name: 100 * sum(values) / len(values) for name, values in found.items()}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 8), st.integers(2, 7), st.integers(1, 40), st.booleans()
)
def test_scores_are_those_of_a_loop(seed: int, images: int, queries: int, size: int, k: int, binary: bool) -> None:
    data = drawn(seed, images, queries, size, classes=4)
    if not np.isin(data[3], data[1]).any():
        with pytest.raises(ValueError, match="none of the queries"):
            retrieval_scores(*data, k=k, binary=binary)
        return
    assert retrieval_scores(*data, k=k, binary=binary) == pytest.approx(naive(*data, k, binary), abs=1e-3)


def test_average_precision_is_that_of_torchmetrics() -> None:
    database, labels, queries, query_labels = drawn(0, 50, 20, 8, classes=3)
    scores = retrieval_scores(database, labels, queries, query_labels, k=10)
    similarity = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(database).T
    for name, metric in (("map", retrieval_average_precision), ("precision", retrieval_precision)):
        values = [metric(row, labels == label, top_k=10) for row, label in zip(similarity, query_labels, strict=True)]
        assert scores[f"{name}_at_10"] == pytest.approx(100 * float(torch.stack(values).mean()), abs=1e-3)


@pytest.mark.parametrize("binary", [False, True])
def test_chunks_of_queries_make_no_difference(binary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(3, 40, 25, 6, classes=3)
    whole = retrieval_scores(*data, k=7, binary=binary)
    monkeypatch.setattr(retrieval, "CHUNK_ENTRIES", 90)  # two queries at a time, and one
    assert retrieval_scores(*data, k=7, binary=binary) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("binary", [False, True])
def test_equals_stay_in_the_order_of_the_database(binary: bool) -> None:
    database = torch.ones(1000, 3)
    labels = torch.ones(1000, dtype=torch.int64)
    labels[:7] = 0
    scores = retrieval_scores(database, labels, torch.ones(1, 3), torch.tensor([0]), k=14, binary=binary)
    assert scores == {
        "precision_at_14": 50.0,
        "map_at_14": 100.0,
        "precision_at_class_size": 100.0,
        "map_at_class_size": 100.0,
    }


def test_bits_are_compared_and_not_lengths() -> None:
    database, labels = torch.tensor([[9.0, -0.1, 0.1], [0.1, 0.1, -5.0]]), torch.tensor([0, 1])
    query = torch.tensor([[9.0, 0.1, 0.0]])  # 0 is not above 0
    assert retrieval_scores(database, labels, query, torch.tensor([1]), k=1, binary=True)["map_at_1"] == 100.0
    assert retrieval_scores(database, labels, query, torch.tensor([1]), k=1)["map_at_1"] == 0.0


def test_queries_of_a_class_that_is_not_there_take_no_part() -> None:
    scores = retrieval_scores(torch.eye(2), torch.tensor([0, 2]), torch.eye(2), torch.tensor([0, 1]), k=1)
    assert set(scores.values()) == {100.0}


@pytest.mark.parametrize(
    ("database", "labels", "queries", "query_labels", "k", "said"),
    [
        ((2, 3), [0, 1], (2, 4), [0, 1], 1, "expected features"),
        ((2, 3), [0], (2, 3), [0, 1], 1, "expected features"),
        ((0, 3), [], (2, 3), [0, 1], 1, "nothing to retrieve"),
        ((2, 3), [0, 1], (0, 3), [], 1, "nothing to retrieve"),
        ((2, 3), [0, -1], (2, 3), [0, 1], 1, "negative"),
        ((2, 3), [0, 1], (2, 3), [0, 1], 0, "at least 1"),
        ((2, 3), [0, 1], (2, 3), [2, 3], 1, "none of the queries"),
    ],
)
def test_what_cannot_be_retrieved_is_refused(
    database: tuple[int, int], labels: list[int], queries: tuple[int, int], query_labels: list[int], k: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        retrieval_scores(
            torch.ones(database),
            torch.tensor(labels, dtype=torch.int64),
            torch.ones(queries),
            torch.tensor(query_labels, dtype=torch.int64),
            k=k,
        )
