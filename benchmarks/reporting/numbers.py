"""Numbers as a person reads them."""

import math


def number(value: float) -> str:
    """Four significant digits, thousands separated; an exponent only below 0.001."""
    if not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000 or value % 1 == 0:
        return f"{value:,.0f}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if digits <= 6 else f"{value:.2e}"


def p_text(p: float | None) -> str:
    """A p-value to two digits, or "< 0.0001"."""
    if p is None:
        return "—"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def thousands(n: int) -> str:
    """10000 as "10k"; other numbers as they are."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)
