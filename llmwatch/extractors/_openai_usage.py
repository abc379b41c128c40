"""Usage, cost and errors as OpenAI and its dialects write them: the names and the sums of each dialect, as data."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmwatch.errors import ErrorKind, classify_body
from llmwatch.extractors._fields import count, everything, get, items, number, text
from llmwatch.extractors._reading import Reading
from llmwatch.usage import Usage


def read_usage(usage: Any, response: Any = None) -> Usage | None:
    """Usage in any spelling of the OpenAI shape; `None` for none, null, `{}` and an object without the two totals.

    Totals include their parts, except where the response's own numbers, or its marks, say that a part stands outside.

    Args:
        usage: The usage object.
        response: The response or chunk that it came in; only its model and its gateway's marks are looked at.
    """
    places = _places(usage)
    inputs, outputs = _first(places, _INPUTS), _first(places, _OUTPUTS)
    if inputs is None and outputs is None:
        return None
    parts = {name: _first(places, spots) for name, spots in _PARTS.items()}
    for name in _outside(places["usage"], inputs, outputs, parts, response):
        if name in _MADE:
            outputs = (outputs or 0) + (parts[name] or 0)
        else:
            inputs = (inputs or 0) + (parts[name] or 0)
    return Usage(inputs, outputs, **{name: value for name, value in parts.items() if name not in _UNKEPT})


def read_total(usage: Any) -> Usage | None:
    """Usage of a call that generates nothing: where only `total_tokens` stands (Voyage), all of it is input."""
    return read_usage(usage) or read_usage({"input_tokens": get(usage, "total_tokens")})


def has_totals(usage: Any) -> bool:
    """Whether an object says how many tokens went in or came out; gateways send empty and all-null ones too."""
    places = {"usage": everything(usage)}
    return _first(places, (*_INPUTS, *_OUTPUTS)) is not None


def read_cost(usage: Any, response: Any = None) -> Decimal | None:
    """What the provider says that the call cost, in USD; `None` where it does not say.

    OpenRouter, Vercel and Avian: `usage.cost`, 0 for what is free. With a key of the caller's own that is the
    gateway's fee alone, to which the upstream's price is added. Perplexity's `usage.cost.total_cost` (0 until the
    last chunk), Venice's `cost.usd` and xAI's `usage.cost_in_usd_ticks` (10^10 to the dollar; 0 on Azure, which bills
    by itself) say nothing when they are 0.
    """
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
        error = error or get(choice, "error")
    return classify_body(None, {"error": error}) if error else None


def reading_of(response: Any, stated: Any, /, **own: Any) -> Reading:
    """What all dialects say alike, with usage as `stated`; `own` are the fields that a shape states in its own way."""
    alike: dict[str, Any] = {
        "model": text(response, "model"),
        "usage": read_usage(stated, response),
        "service_tier": text(response, "service_tier") or text(stated, "service_tier"),
        "cost": read_cost(stated, response),
        "error": read_error(response),
    }
    return Reading(**{**alike, **own})


_INPUTS = (("usage", "prompt_tokens"), ("usage", "input_tokens"))
_OUTPUTS = (("usage", "completion_tokens"), ("usage", "output_tokens"))
_DETAILS = {
    "input": ("prompt_tokens_details", "prompt_token_details", "input_tokens_details", "input_token_details"),
    "output": (
        "completion_tokens_details",
        "completion_token_details",
        "output_tokens_details",
        "output_token_details",
    ),
    "written": ("cache_creation",),
}
_PARTS = {
    "cache_read_tokens": (
        ("input", "cached_tokens"),
        ("usage", "cached_tokens"),
        ("usage", "prompt_cache_hit_tokens"),
        ("usage", "num_cached_tokens"),
        ("usage", "cache_read_input_tokens"),
    ),
    "cache_write_tokens": (
        ("input", "cache_write_tokens"),
        ("input", "cache_creation_tokens"),
        ("usage", "cache_creation_input_tokens"),
    ),
    "cache_write_1h_tokens": (("written", "ephemeral_1h_input_tokens"),),
    "reasoning_tokens": (("output", "reasoning_tokens"), ("usage", "reasoning_tokens")),
    "audio_input_tokens": (("input", "audio_tokens"),),
    "audio_output_tokens": (("output", "audio_tokens"),),
    "image_input_tokens": (("input", "image_tokens"),),
    "image_output_tokens": (("output", "image_tokens"),),
    "audio_cache_read_tokens": (("cached", "audio_tokens"),),
    "image_cache_read_tokens": (("cached", "image_tokens"),),
    "citation_tokens": (("usage", "citation_tokens"),),
}
_MADE = frozenset({"reasoning_tokens"})
_UNKEPT = frozenset({"citation_tokens"})

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
_TOTAL_COST, _USD, _TICKS = ("cost", "total_cost"), ("cost", "usd"), ("cost_in_usd_ticks",)
_LARGEST_AMOUNT = 10**18

_Places = Mapping[str, Mapping[str, Any]]
_Spots = tuple[tuple[str, str], ...]


def _places(usage: Any) -> _Places:
    top = everything(usage)
    places = {"usage": top}
    for place, names in _DETAILS.items():
        places[place] = next((found for name in names if (found := everything(top.get(name)))), {})
    places["cached"] = everything(places["input"].get("cached_tokens_details"))
    return places


def _first(places: _Places, spots: _Spots) -> Any:
    for place, name in spots:
        value = number(places[place].get(name))
        if value is not None:
            return value
    return None


def _outside(
    usage: Mapping[str, Any], inputs: Any, outputs: Any, parts: dict[str, Any], response: Any
) -> tuple[str, ...]:
    """The parts that stand outside of their total; names Gemini's thoughts where only the total shows them."""
    total, model = usage.get("total_tokens"), (text(response, "model") or "").lower()
    missing = total - inputs - outputs if type(total) is type(inputs) is type(outputs) is int else 0
    if missing > 0:
        for names in _PROVEN:
            if missing == sum(parts[name] or 0 for name in names):
                return names
        if "gemini" in model and not parts["reasoning_tokens"]:
            parts["reasoning_tokens"] = missing
            return ("reasoning_tokens",)
        return ()
    for fragment, marks, names in _UNTOTALLED:
        if fragment in model and any(mark in usage or get(response, mark) is not None for mark in marks):
            return names
    return ()


def _amount(value: Any) -> Decimal | None:
    return Decimal(str(value)) if value is not None and 0 <= value <= _LARGEST_AMOUNT else None
