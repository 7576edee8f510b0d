"""Where the constants of vectors.h are from: polynomials whose largest error is least, by linear
programming. `python fit_constants.py` prints them."""
import numpy as np
from numpy.polynomial import chebyshev
from scipy.optimize import linprog
from scipy.special import ndtr

EXP2_DEGREE, SHARE_DEGREE, BOUND = 5, 5, 5.3


def fit_exp2():
    """Coefficients, of the powers 0 to 5, for 2^x on [-1/2, 1/2]: the least relative error."""
    x = np.cos(np.linspace(0, np.pi, 400)) / 2
    ratios = np.vander(x, EXP2_DEGREE + 1, increasing=True) / 2 ** x[:, None]
    ones = np.ones((len(x), 1))
    # |ratios · c - 1| ≤ e, for the least e
    found = linprog([0] * (EXP2_DEGREE + 1) + [1], np.block([[ratios, -ones], [-ratios, -ones]]),
                    np.concatenate([ones[:, 0], -ones[:, 0]]), bounds=(None, None))
    return found.x[:-1]


def fit_normal_share():
    """(P, Q), coefficients of the powers 0 to 5 of x², Q[0] = 1, such that x P / Q is the normal
    distribution's share below x less 1/2, for x up to BOUND: the least error, by bisection."""
    x = BOUND * (0.5 - 0.5 * np.cos(np.linspace(0.01, np.pi, 1500)))
    share, basis = ndtr(x) - 0.5, chebyshev.chebvander(2 * (x / BOUND) ** 2 - 1, SHARE_DEGREE)
    size, low, high, best = SHARE_DEGREE + 1, 1e-12, 1e-3, None
    at_zero = np.concatenate([np.zeros(size), chebyshev.chebvander(np.array([-1.0]),
                                                                   SHARE_DEGREE)[0]])
    while high / low > 1.02:
        error = np.sqrt(low * high)
        # |x P - share Q| ≤ error Q, Q > 0, Q(0) = 1
        above = np.block([[x[:, None] * basis, -(share + error)[:, None] * basis],
                          [-x[:, None] * basis, (share - error)[:, None] * basis],
                          [0 * basis, -basis]])
        found = linprog(np.zeros(2 * size), above,
                        np.concatenate([np.zeros(2 * len(x)), np.full(len(x), -0.01)]),
                        at_zero[None], [1], bounds=(None, None))
        low, high, best = (low, error, found.x) if found.status == 0 else (error, high, best)
    return [_in_powers(part) for part in (best[:size], best[size:])]


def _in_powers(coefficients):
    """Chebyshev coefficients in 2 x² / BOUND² - 1 → those of the powers of x²."""
    argument, total = np.poly1d([2 / BOUND ** 2, -1]), np.poly1d([0.0])
    for power, coefficient in enumerate(chebyshev.cheb2poly(coefficients)):
        total += coefficient * argument ** power
    return total.coeffs[::-1]


if __name__ == '__main__':
    for name, values in zip(('exp2', 'P', 'Q'), [fit_exp2()] + list(fit_normal_share())):
        print(name, ' '.join('%.9g' % value for value in values))
