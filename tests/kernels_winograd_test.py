import numpy as np
import pytest

from e3d.kernels.convolution import convolve, same_padding
from e3d.kernels.winograd import minimal_filtering


@pytest.mark.parametrize('taps', range(1, 10))
def test_filtering_equals_the_sum_over_taps(taps):
    filtering = minimal_filtering(taps)
    outputs, products = filtering.outputs.shape
    assert products == outputs + taps - 1
    generator = np.random.default_rng(taps)
    inputs, filters = generator.normal(size=products), generator.normal(size=taps)
    found = filtering.outputs @ ((filtering.taps @ filters) * (filtering.inputs @ inputs))
    expected = [inputs[first : first + taps] @ filters for first in range(outputs)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_five_taps_need_two_products_for_an_output():
    outputs, products = minimal_filtering(5).outputs.shape
    assert products == 2 * outputs


def test_rounding_in_float32():
    """As the docstring says: about 1e-6 of the largest value off, at the size of the paper."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(1, 2, 16, 16, 64))
    kernel = generator.normal(size=(2, 5, 5, 64, 32))
    found = np.asarray(
        convolve(inputs.astype(np.float32), kernel.astype(np.float32), same_padding((2, 5, 5)))
    )
    padded = np.pad(inputs, ((0, 0), (0, 1), (2, 2), (2, 2), (0, 0)))
    exact = sum(
        padded[:, d : d + 2, h : h + 16, w : w + 16] @ kernel[d, h, w]
        for d in range(2)
        for h in range(5)
        for w in range(5)
    )
    assert np.abs(found - exact).max() < 3e-6 * np.abs(exact).max()
