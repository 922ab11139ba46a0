"""How a report writes numbers."""

import math

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def count(value: float) -> str:
    """``1,234,567``; with a true minus sign."""
    return f"{round(value):,}".replace("-", "−")


def compact(value: float) -> str:
    """Three figures and a unit: ``1.23M``; below ten thousand the number itself."""
    if abs(value) < 10_000:
        return count(value)
    return _scaled(value, _UNITS, "")


def size(value: float) -> str:
    """Bytes in powers of ten: ``1.93 GB``."""
    return f"{count(value)} B" if abs(value) < 1000 else _scaled(value, _SIZES, " ")


def tokens(value: float) -> str:
    """Tokens as the paper's Table 1 writes them, to a tenth of a unit: ``273.6B``."""
    for factor, unit in _UNITS:
        if abs(value) >= factor:
            return f"{value / factor:,.1f}{unit}"
    return count(value)


def estimate(value: float, error: float) -> str:
    """A value with its standard error, to the figure that the error leaves meaningful."""
    if not error:
        return tokens(value)
    factor, unit = next(((f, u) for f, u in _UNITS if abs(value) >= f), (1.0, ""))
    decimals = min(4, max(0, -math.floor(math.log10(error / factor)))) if unit else 0
    return f"{value / factor:,.{decimals}f}{unit} ± {error / factor:,.{decimals}f}{unit}"


def percent(share: float) -> str:
    """``48.7 %``, with as many decimals as it takes to show that something is there."""
    if share == 0 or share == 1:
        return f"{100 * share:.0f} %"
    if share < 0.000_05:
        return "< 0.01 %"
    if 0.9995 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.{1 if share >= 0.001 else 2}f} %"


def _scaled(value: float, units: tuple[tuple[float, str], ...], gap: str) -> str:
    # 999,600 to three figures is 1.00M, so the unit follows from the rounded number.
    rounded = float(f"{value:.2e}")
    factor, unit = next((f, u) for f, u in units if abs(rounded) >= f)
    scaled = rounded / factor
    decimals = max(0, 2 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:.{decimals}f}{gap}{unit}"
