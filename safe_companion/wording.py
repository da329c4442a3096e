"""How are counts and differences said? Singular and plural, better and worse, true minus signs."""

from collections.abc import Sequence
from math import floor, isfinite, isnan, log10

MINUS = "\N{MINUS SIGN}"
# The sample's conditions by their names in records: what readers see, in the words of the page on
# which one plays and the order of pictures; and the same within a sentence.
CONDITIONS = {
    "dark": "dark",
    "fast": "fast",
    "isoluminant": "little contrast",
    "slow": "nearly still",
    "noisy": "noisy events",
    "none": "easy",
}
WHERE = {
    "dark": "in the dark",
    "fast": "in fast motion",
    "isoluminant": "at little contrast in brightness",
    "slow": "on nearly still recordings",
    "noisy": "with noisy events",
    "none": "on easy recordings",
}


def counted(count: float, noun: str, plural: str = "") -> str:
    """A count with its noun: "1 run", "1,200 runs"; plural: where it is not the noun with an s."""
    return f"{count:,.0f} {noun if count == 1 else plural or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def span(low: str, high: str) -> str:
    """What lies from a number to another: "3 to 8", or "8" if they are equal."""
    return low if low == high else f"{low} to {high}"


def typeset(number: str) -> str:
    """A number as printed: a true minus sign, and none before a zero."""
    size = number.lstrip("+-")
    return size if not size.strip("0.,") else number.replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """1.25 -> "+1.2", with a true minus sign."""
    return typeset(f"{value:+.{digits}f}")


def plus_minus(half: float, digits: int = 1) -> str:
    """Half of an interval: " ± 0.9"; "" of one that is not known."""
    return "" if isnan(half) else f" ± {half:.{digits}f}"


def of_difference(mean: float, half: float, *, sign: bool = True) -> str:
    """A difference with half of its interval: "+1.2 ± 0.9"; sign: else its size, "1.2 ± 0.9".

    With a second decimal where one would hide that the interval excludes zero: 0.44 ± 0.36.
    """
    hidden = abs(mean) > half and f"{abs(mean):.1f}" == f"{half:.1f}"
    digits = 2 if hidden else 1
    size = signed(mean, digits) if sign else f"{abs(mean):.{digits}f}"
    return size + plus_minus(half, digits)


def significant(value: float, digits: int = 3) -> str:
    """A number of any size to that many digits, without an exponent: "3,550", "0.0123"."""
    if not isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.{max(0, digits - 1 - floor(log10(abs(rounded))))}f}"


def better_or_worse(points: float, digits: int = 1) -> str:
    """A difference in accuracy by its grammar: "better by 1.2 points"."""
    size = f"{abs(points):.{digits}f}"
    if float(size) == 0:
        return "no better and no worse"
    return f"{'better' if points > 0 else 'worse'} by {size} points"


def compared(mean: float, half: float, pairs: float, effect: str) -> str:
    """A paired difference in a sentence: "worse by 10.1 ± 2.5 points, 5 paired runs".

    effect: as `effects.Difference.effect` has it. A difference that chance could have made is not
    called better or worse: its sign is shown, and what can be missed.
    """
    if isnan(mean):
        return "not run"
    over = counted(pairs, "paired run")
    if mean == half == 0:
        return f"the same in every answer, {over}"
    if effect in ("better", "worse"):
        return f"{effect} by {of_difference(mean, half, sign=False)} points, {over}"
    if pairs == 1 and effect.startswith("one seed"):
        return f"{signed(mean)} points with {effect}"
    return f"{of_difference(mean, half)} points, {over}: {effect}"
