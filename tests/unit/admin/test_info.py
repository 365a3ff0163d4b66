"""INFO's estimates of percentiles from the histograms of powers of two, and sizes for humans."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.admin.info import BUCKET_US, percentile_us
from cachefleet_server.metrics.table import human

pytestmark = pytest.mark.unit


def bucket(us: float) -> int:
    return int(us / BUCKET_US).bit_length()


def test_percentiles_lie_in_the_bucket_of_the_true_ones(rng: random.Random) -> None:
    for _ in range(50):
        times = sorted(rng.lognormvariate(3, 2) for _ in range(rng.randint(1, 300)))
        histogram = [0] * 32
        for us in times:
            histogram[bucket(us)] += 1
        last = 0.0
        for percentile in (0, 12.5, 50, 99, 99.9, 100):
            estimate = percentile_us(histogram, len(times), percentile)
            true = times[max(0, -(-len(times) * percentile // 100).__int__() - 1)]
            high = BUCKET_US * 2 ** bucket(true)
            assert (high / 2 if bucket(true) else 0) <= estimate <= high
            assert estimate >= last
            last = estimate


def test_nothing_counted_is_zero() -> None:
    assert percentile_us([0] * 32, 0, 50) == 0


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1 << 20, "1.00M"), (3 << 29, "1.50G"), (1 << 41, "2.00T")],
)
def test_human_sizes(n: int, text: str) -> None:
    assert human(n) == text
