"""Pools of worker processes: order, bounds, deaths."""

import os
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from hyperclova.errors import UserError
from hyperclova.processes import in_order, worker_pool


def test_results_come_in_order_and_jobs_are_submitted_as_they_are_wanted() -> None:
    submitted: list[int] = []

    def submit() -> Iterator[tuple[str, Future[int]]]:
        with worker_pool(2, str) as pool:
            for number in range(40):
                submitted.append(number)
                yield f"job {number}", pool.submit(pow, number, 2)

    for done, (key, result) in enumerate(in_order(submit(), 5)):
        assert (key, result) == (f"job {done}", done**2)
        assert len(submitted) == min(40, done + 6)
    assert done == 39


def test_a_worker_that_dies_is_an_error_with_a_remedy() -> None:
    with pytest.raises(UserError, match=r"died.*fewer --workers"), worker_pool(1, str) as pool:
        pool.submit(os._exit, 3).result()


def test_an_error_of_a_job_is_raised_where_it_is_asked_for() -> None:
    with worker_pool(1, str) as pool:
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
        assert pool.submit(divmod, 7, 2).result() == (3, 1)
