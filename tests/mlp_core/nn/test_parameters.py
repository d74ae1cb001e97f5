"""The parameter vector and its views."""

from __future__ import annotations

import numpy as np

from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.parameters import Parameters, Spec

SPECS = [Spec("0.weight", (2, 3), True), Spec("0.bias", (2,), False), Spec("2.weight", (1, 2), True)]


def test_weights_come_first_so_that_they_are_one_slice():
    parameters = Parameters(SPECS, numpy_backend(), np.float32)
    assert [spec.name for spec in parameters.specs] == ["0.weight", "2.weight", "0.bias"]
    assert parameters.weights == slice(0, 8)
    assert parameters.size == 10
    assert parameters.theta.dtype == parameters.grad.dtype == np.float32


def test_views_share_memory_with_the_vectors_and_cover_them_once():
    parameters = Parameters(SPECS, numpy_backend(), np.float64)
    for views, vector in ((parameters.values, parameters.theta), (parameters.gradients, parameters.grad)):
        for number, view in enumerate(views.values(), start=1):
            assert np.shares_memory(view, vector)
            view += number
        assert sorted(vector) == [1] * 6 + [2] * 2 + [3] * 2
    assert {name: view.shape for name, view in parameters.values.items()} == {s.name: s.shape for s in SPECS}


def test_any_vector_of_this_length_can_be_viewed_by_name():
    parameters = Parameters(SPECS, numpy_backend(), np.float64)
    views = parameters.views(np.arange(10.0))
    np.testing.assert_array_equal(views["2.weight"], [[6, 7]])
    np.testing.assert_array_equal(views["0.bias"], [8, 9])
