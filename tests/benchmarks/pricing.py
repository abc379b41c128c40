"""What pricing a call costs, beside what its sum costs in `Decimal` alone, and beside genai-prices' own calculator.

    python tests/benchmarks/pricing.py [--rounds 151]

An ordinary call: input, some of it from the cache, and output, of a model whose price has been looked up before.
"""

from __future__ import annotations

import argparse
import sys
import time
from decimal import Decimal

import genai_prices
from timing import interleaved, report

from llmwatch.pricing import PriceBook
from llmwatch.usage import Usage

USAGE = Usage(input_tokens=1000, output_tokens=200, cache_read_tokens=300)
THEIR_USAGE = genai_prices.Usage(input_tokens=1000, output_tokens=200, cache_read_tokens=300)
INPUT, CACHE_READ, OUTPUT = Decimal("0.00000015"), Decimal("0.000000075"), Decimal("0.0000006")  # gpt-4o-mini
SUM = Decimal("0.0002475")


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=151)
    book, began = PriceBook(), time.time()
    subjects = {
        "a bare call": lambda: None,
        "Decimal": lambda: INPUT * 700 + CACHE_READ * 300 + OUTPUT * 200,
        "PriceBook.cost": lambda: book.cost(USAGE, provider="openai", model="gpt-4o-mini", at=began),
        "the same, of now": lambda: book.cost(USAGE, provider="openai", model="gpt-4o-mini"),
        "the same, its total": lambda: book.cost(USAGE, provider="openai", model="gpt-4o-mini", at=began).total,
        "genai_prices.calc_price": lambda: genai_prices.calc_price(THEIR_USAGE, "gpt-4o-mini", provider_id="openai"),
    }
    assert subjects["Decimal"]() == subjects["the same, its total"]() == SUM
    assert subjects["genai_prices.calc_price"]().total_price == SUM
    timings = interleaved(subjects, rounds=parser.parse_args().rounds)
    sys.stdout.write(report(timings, floor="a bare call", unit="Decimal") + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
