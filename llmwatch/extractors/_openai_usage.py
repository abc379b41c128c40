"""Usage, cost and errors as OpenAI and its dialects write them: the names and the sums of each dialect, as data."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from operator import itemgetter
from typing import Any

from llmwatch.errors import ErrorKind, classify_body
from llmwatch.extractors._fields import count, everything, get, items, number, text, word
from llmwatch.extractors._reading import Reading
from llmwatch.usage import Usage


def read_usage(usage: Any, response: Any = None) -> Usage | None:
    """Usage in any spelling of the OpenAI shape; `None` for none, null, `{}` and an object without the two totals.

    Totals include their parts, except where the response's own numbers, or its marks, say that a part stands outside.

    Args:
        usage: The usage object.
        response: The response or chunk that it came in; only its model and its gateway's marks are looked at.
    """
    stated = _stated(usage)
    if "input_tokens" not in stated and "output_tokens" not in stated:
        return None
    total = stated.pop("total_tokens", None)
    for name in _outside(usage, total, stated, response):
        direction = "output_tokens" if name in _MADE else "input_tokens"
        stated[direction] = (stated.get(direction) or 0) + (stated.get(name) or 0)
    stated.pop("citation_tokens", None)
    return Usage(**stated)


def read_total(usage: Any) -> Usage | None:
    """Usage of a call that generates nothing: where only `total_tokens` stands (Voyage), all of it is input."""
    return read_usage(usage) or read_usage({"input_tokens": get(usage, "total_tokens")})


def has_totals(usage: Any) -> bool:
    """Whether an object says how many tokens went in or came out; gateways send empty and all-null ones too."""
    fields = everything(usage)
    return any(number(fields.get(name)) is not None for name in _TOTALS)


def read_cost(usage: Any, response: Any = None) -> Decimal | None:
    """What the provider says that the call cost, in USD; `None` where it does not say.

    OpenRouter, Vercel and Avian: `usage.cost`, 0 for what is free. With a key of the caller's own that is the
    gateway's fee alone, to which the upstream's price is added. Perplexity's `usage.cost.total_cost` (0 until the
    last chunk), Venice's `cost.usd` and xAI's `usage.cost_in_usd_ticks` (10^10 to the dollar; 0 on Azure, which bills
    by itself) say nothing when they are 0.
    """
    fields = everything(usage)
    if not (_COSTS & fields.keys() or get(response, "cost")):
        return None
    charged = count(usage, "cost")
    if charged is not None and get(usage, "is_byok") is True:
        fee, upstream = _amount(charged), _amount(count(usage, "cost_details", "upstream_inference_cost"))
        return fee + upstream if fee is not None and upstream else None
    if charged is not None:
        return _amount(charged)
    for source, path, exponent in ((usage, _TOTAL_COST, 0), (response, _USD, 0), (usage, _TICKS, -10)):
        amount = _amount(count(source, *path))
        if amount:
            return amount.scaleb(exponent)
    return None


def read_error(source: Any) -> ErrorKind | None:
    """The kind of an error that stands in a response or in one of its choices, in place of an HTTP error."""
    error = get(source, "error")
    for choice in items(source, "choices"):
        error = error or everything(choice).get("error")
    return classify_body(None, {"error": error}) if error else None


def reading_of(response: Any, stated: Any, /, **own: Any) -> Reading:
    """What all dialects say alike, with usage as `stated`; `own` are the fields that a shape states in its own way."""
    response, stated = everything(response) or response, everything(stated) or stated  # looked into only once
    return Reading(
        own.get("provider"),
        word(get(response, "model")),
        own["usage"] if "usage" in own else read_usage(stated, response),
        own.get("finish_reasons", ()),
        own.get("operation"),
        word(get(response, "service_tier")) or word(get(stated, "service_tier")),
        read_cost(stated, response),
        own["error"] if "error" in own else read_error(response),
    )


_TOTALS = ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens")

# Where each count stands: the fields of an object, with our name for each and, where a count stands in several
# places, the rank of this one. The fields of an object inside stand in a mapping of their own.
_CACHED = {"audio_tokens": ("audio_cache_read_tokens", 0), "image_tokens": ("image_cache_read_tokens", 0)}
_INPUT: dict[str, Any] = {
    "cached_tokens": ("cache_read_tokens", 0),
    "cache_write_tokens": ("cache_write_tokens", 0),
    "cache_creation_tokens": ("cache_write_tokens", 1),
    "audio_tokens": ("audio_input_tokens", 0),
    "image_tokens": ("image_input_tokens", 0),
    "cached_tokens_details": _CACHED,
}
_OUTPUT = {
    "reasoning_tokens": ("reasoning_tokens", 0),
    "audio_tokens": ("audio_output_tokens", 0),
    "image_tokens": ("image_output_tokens", 0),
}
USAGE: dict[str, Any] = {
    "prompt_tokens": ("input_tokens", 0),
    "input_tokens": ("input_tokens", 1),
    "completion_tokens": ("output_tokens", 0),
    "output_tokens": ("output_tokens", 1),
    "total_tokens": ("total_tokens", 0),
    "cached_tokens": ("cache_read_tokens", 1),
    "prompt_cache_hit_tokens": ("cache_read_tokens", 2),
    "num_cached_tokens": ("cache_read_tokens", 3),
    "cache_read_input_tokens": ("cache_read_tokens", 4),
    "cache_creation_input_tokens": ("cache_write_tokens", 2),
    "reasoning_tokens": ("reasoning_tokens", 1),
    "citation_tokens": ("citation_tokens", 0),
    "cache_creation": {"ephemeral_1h_input_tokens": ("cache_write_1h_tokens", 0)},
    **dict.fromkeys(
        ("prompt_tokens_details", "prompt_token_details", "input_tokens_details", "input_token_details"), _INPUT
    ),
    **dict.fromkeys(
        ("completion_tokens_details", "completion_token_details", "output_tokens_details", "output_token_details"),
        _OUTPUT,
    ),
}
_MADE = frozenset({"reasoning_tokens"})

# Parts that `total_tokens` proves to stand outside of the two totals, as it is larger than their sum by just these.
_PROVEN = (
    ("reasoning_tokens",),  # xAI's chat completions; Gemini's of Vertex
    ("audio_input_tokens",),  # Mistral
    ("audio_input_tokens", "reasoning_tokens"),
    ("cache_read_tokens", "cache_write_tokens"),  # gateways that hand Anthropic's numbers on as they are
)
# Parts that the total leaves out too, so that only the model's name and a field of that dialect tell.
_UNTOTALLED = (
    ("google/", ("market_cost", "generationId"), ("reasoning_tokens",)),  # Vercel's gateway before Gemini
    ("deep-research", ("citation_tokens",), ("citation_tokens", "reasoning_tokens")),  # Perplexity
)
# Fields that say more than what they are called: a gateway's mark, a tier, a cost, or an error.
PUZZLES = frozenset(
    {"x_groq", "venice_parameters", "service_tier", "cost", "cost_in_usd_ticks", "error", "citation_tokens"}
) | {mark for _, marks, _ in _UNTOTALLED for mark in marks}
_RANK = itemgetter(0)
_TOTAL_COST, _USD, _TICKS = ("cost", "total_cost"), ("cost", "usd"), ("cost_in_usd_ticks",)
_COSTS = frozenset({"cost", "cost_in_usd_ticks"})
_LARGEST_AMOUNT = 10**18


def _stated(usage: Any) -> dict[str, Any]:
    """The counts that an object states, under our names: one walk over what is there."""
    found: dict[str, Any] = {}
    spare: list[tuple[int, str, Any]] = []
    _walk(everything(usage), USAGE, found, spare)
    for _, name, value in sorted(spare, key=_RANK):
        found.setdefault(name, value)
    return found


def _walk(
    fields: Mapping[str, Any], spots: Mapping[str, Any], found: dict[str, Any], spare: list[tuple[int, str, Any]]
) -> None:
    for field, value in fields.items():
        if value is None or (spot := spots.get(field)) is None:
            continue
        if type(spot) is dict:
            _walk(everything(value), spot, found, spare)
        elif type(value) is int or number(value) is not None:
            name, rank = spot
            if rank:
                spare.append((rank, name, value))
            else:
                found.setdefault(name, value)


def _outside(usage: Any, total: Any, stated: dict[str, Any], response: Any) -> tuple[str, ...]:
    """The parts that stand outside of their total; names Gemini's thoughts where only the total shows them."""
    inputs, outputs = stated.get("input_tokens"), stated.get("output_tokens")
    missing = total - inputs - outputs if type(total) is type(inputs) is type(outputs) is int else 0
    if missing > 0:
        for names in _PROVEN:
            if missing == sum(stated.get(name) or 0 for name in names):
                return names
        if not stated.get("reasoning_tokens") and "gemini" in _model(response):
            stated["reasoning_tokens"] = missing
            return ("reasoning_tokens",)
        return ()
    if "reasoning_tokens" in stated or "citation_tokens" in stated:
        for fragment, marks, names in _UNTOTALLED:
            for mark in marks:
                marked = get(usage, mark) is not None or get(response, mark) is not None
                if marked and fragment in _model(response):
                    return names
    return ()


def _model(response: Any) -> str:
    return (text(response, "model") or "").lower()


def _amount(value: Any) -> Decimal | None:
    return Decimal(str(value)) if value is not None and 0 <= value <= _LARGEST_AMOUNT else None
