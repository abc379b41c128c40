"""Remedies: what to do about what is not priced, not read, folded, or failing inside llmwatch, in words."""

from __future__ import annotations

_UNPRICED = {
    "unknown_model": (
        "Nobody has a price for this model: give it one with configure(prices=...). "
        "`llmwatch prices {model}` says what is known."
    ),
    "no_model": "No model is named: state it, observe_llm(model=...), or let an extractor read it from the response.",
    "missing_usage": "What it is charged for is unknown: see missing usage.",
    "missing_rate": (
        "The price has no rate for a kind of tokens that was used: add it with configure(prices=...). "
        "`llmwatch prices {model}` shows the rates."
    ),
}
_MISSING = {
    "not_reported": (
        "The response says nothing about tokens. For a stream of OpenAI's chat completions pass "
        'stream_options={{"include_usage": True}}.'
    ),
    "unrecognised": (
        "Nobody can read this response: register_extractor() for its type, or record(input_tokens=..., "
        "output_tokens=...) in a track_request() block."
    ),
    "interrupted": (
        "The stream ended before it said what it used: its reader left, or it broke off. Nothing can be done about "
        "readers who leave; their calls are not priced."
    ),
    "inconsistent": "The counts contradict each other and were corrected: look at what the extractor reads.",
}
_OVERFLOW = (
    "It has more values than its budget, and further ones say 'other': raise "
    'configure(label_limits={{"{label}": ...}}), or state fewer. /labels lists what was folded.'
)
_OVERFLOW_SERIES = (
    'There is no room for further series: raise configure(label_limits={{"series": ...}}), or give the labels '
    "smaller budgets. /labels lists them."
)
_INTERNAL = "A failure of llmwatch's own, which your program never saw; its log says which. Please report it."


def remedy(kind: str, *named: str) -> str:
    """What to do about trouble of this kind: `unpriced`, `missing`, `overflow` or `internal`.

    Args:
        kind: The kind.
        named: What its subject is called: provider, model and reason, or the label, or the place.
    """
    if kind == "overflow":
        return (_OVERFLOW_SERIES if named[0] == "series" else _OVERFLOW).format(label=named[0])
    if kind == "internal":
        return _INTERNAL
    _, model, reason = named
    text = (_UNPRICED if kind == "unpriced" else _MISSING).get(reason, "")
    return text.format(model=model if model and model.isprintable() else "MODEL")
