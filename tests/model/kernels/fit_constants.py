"""Fits the constants of vectors.h and vectors_bfloat16.h: minimax polynomials, by linear
programming. `python fit_constants.py` prints them."""
import numpy as np
from numpy.polynomial import chebyshev
from scipy.optimize import linprog
from scipy.special import ndtr

EXP2_DEGREE, CDF_DEGREE, BOUND = 5, 5, 5.3


def fit_exp2(degree=EXP2_DEGREE):
    """The coefficients of the powers 0 to `degree` of the polynomial that approximates 2^x on
    [-1/2, 1/2] with the least relative error."""
    x = np.cos(np.linspace(0, np.pi, 400)) / 2
    return _fit(np.vander(x, degree + 1, increasing=True) / 2 ** x[:, None], np.ones(len(x)))


def _fit(basis, values, **constraint):
    """The vector c that minimizes the largest error of basis · c."""
    ones = np.ones((len(values), 1))
    # minimize e with |basis · c - values| ≤ e
    solution = linprog([0] * basis.shape[1] + [1], np.block([[basis, -ones], [-basis, -ones]]),
                       np.concatenate([values, -values]), bounds=(None, None), **constraint)
    return solution.x[:-1]


def gelu_gradient(x):
    return ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def fit_sigmoid(function, bound, degree, min_weight=None):
    """Approximates a function with f(-x) = 1 - f(x) by 1/2 + x P(x²), with the least error for x up
    to `bound`, where the approximation must be 1. Returns the coefficients of the powers 0 to
    `degree` of x² in P. The weight of an error is 1, or with `min_weight` max(x, min_weight)."""
    x = bound * (0.5 - 0.5 * np.cos(np.linspace(0.005, np.pi, 2000)))
    weight = np.ones_like(x) if min_weight is None else np.maximum(x, min_weight)
    basis = x[:, None] * chebyshev.chebvander(2 * (x / bound) ** 2 - 1, degree)
    end = bound * chebyshev.chebvander(np.array([1.0]), degree)
    coefficients = _fit(basis * weight[:, None], (function(x) - 0.5) * weight,
                        A_eq=np.append(end, 0)[None], b_eq=[0.5])
    return _to_powers(coefficients, bound)


def fit_normal_cdf():
    """(P, Q): coefficients of the powers 0 to 5 of x², with Q[0] = 1. 1/2 + x P / Q approximates
    the cumulative distribution function of the normal distribution for x up to BOUND with the
    least error, by bisection."""
    x = BOUND * (0.5 - 0.5 * np.cos(np.linspace(0.01, np.pi, 1500)))
    target, basis = ndtr(x) - 0.5, chebyshev.chebvander(2 * (x / BOUND) ** 2 - 1, CDF_DEGREE)
    size, low, high, best_solution = CDF_DEGREE + 1, 1e-12, 1e-3, None
    denominator_at_zero = np.concatenate([np.zeros(size), chebyshev.chebvander(np.array([-1.0]),
                                                                               CDF_DEGREE)[0]])
    while high / low > 1.02:
        error = np.sqrt(low * high)
        # |x P - target Q| ≤ error Q, Q > 0, Q(0) = 1
        upper_bounds = np.block([[x[:, None] * basis, -(target + error)[:, None] * basis],
                                 [-x[:, None] * basis, (target - error)[:, None] * basis],
                                 [0 * basis, -basis]])
        solution = linprog(np.zeros(2 * size), upper_bounds,
                           np.concatenate([np.zeros(2 * len(x)), np.full(len(x), -0.01)]),
                           denominator_at_zero[None], [1], bounds=(None, None))
        if solution.status == 0:
            high, best_solution = error, solution.x
        else:
            low = error
    return [_to_powers(part, BOUND) for part in (best_solution[:size], best_solution[size:])]


def _to_powers(coefficients, bound):
    """Chebyshev coefficients in 2 x² / bound² - 1 → those of the powers of x²."""
    argument, total = np.poly1d([2 / bound ** 2, -1]), np.poly1d([0.0])
    for power, coefficient in enumerate(chebyshev.cheb2poly(coefficients)):
        total += coefficient * argument ** power
    return total.coeffs[::-1]


if __name__ == '__main__':
    for name, values in (
            ('exp2', fit_exp2()), *zip('PQ', fit_normal_cdf()), ('rough exp2', fit_exp2(3)),
            ('rough normal CDF', fit_sigmoid(ndtr, 4.0, 6, 0.3)),
            ('rough GELU gradient', fit_sigmoid(gelu_gradient, 4.3, 7))):
        print(name, ' '.join('%.9g' % value for value in values))
