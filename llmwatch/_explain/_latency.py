"""Answers about latency: whether the provider's limit, its speed, longer answers or failures make the calls slow."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch import metrics
from llmwatch._explain import _latency_words as words
from llmwatch._explain._answer import Answer, Finding, Table
from llmwatch._explain._compared import Provider, compared
from llmwatch._explain._history import history
from llmwatch._explain._numbers import moment, percent, seconds, signed
from llmwatch._explain._onset import Onset
from llmwatch._explain._question import Question, times
from llmwatch._explain._server import Server
from llmwatch._explain._since import slower_since
from llmwatch._explain._slower import FACTORS
from llmwatch._explain._timing import Timing


def latency(server: Server, question: Question) -> Answer:
    """What made calls slower or quicker, by provider.

    Raises:
        CannotTellError: When there is nothing to compare.
        UnreachableError: When the server does not answer.
    """
    known = history(server, question)
    providers = compared(server, known)
    changed = [provider for provider in providers if provider.stands_out]
    onset = None
    if changed:
        rose = changed[0].change > 0
        onset = slower_since(server, known, metrics.REQUEST_DURATION, changed[0].name, rose=rose)
    finding: Finding = "usual" if not changed else "rose" if changed[0].change > 0 else "fell"
    return Answer(
        "latency",
        finding,
        times(known.question),
        tuple(_sentences(known.question, providers, onset)),
        (_table(providers), *map(_factors, changed[:1])),
        (*known.notes, *_notes(known.question, providers)),
        _data(known.question, providers, onset),
    )


def _sentences(question: Question, providers: list[Provider], onset: Onset | None) -> Iterator[str]:
    changed = [provider for provider in providers if provider.stands_out]
    for place, provider in enumerate(changed):
        yield words.change(question, provider, onset if place == 0 else None)
        yield words.reason(provider)
    if not changed:
        yield f"Nothing stands out: {words.levels(question, providers)}."
    elif calm := [provider for provider in providers if not provider.stands_out]:
        yield f"Of the others nothing stands out: {words.levels(question, calm)}."
    yield words.rate_limits(providers)


def _notes(question: Question, providers: list[Provider]) -> Iterator[str]:
    if question.only.get("feature"):
        yield "attempts, refusals and limits are those of all features: they are not recorded by feature."
    without = [provider.name or "(none)" for provider in providers if not sum(provider.after.attempts.values())]
    if without:
        yield f"no attempts of {', '.join(without)} are recorded: what its client waits looks as if it were slow."


def _table(providers: list[Provider]) -> Table:
    rows = tuple(
        (
            provider.name or "(none)",
            _pair(*(_seconds(each.p95) for each in (provider.before, provider.after))),
            _pair(*(_seconds(each.attempt_p95) for each in (provider.before, provider.after))),
            _pair(*(seconds(each.wait) for each in (provider.before, provider.after))),
            _pair(*(_share(each.refused()) for each in (provider.before, provider.after))),
            _share(provider.limit[0] if provider.limit else None),
        )
        for provider in providers
    )
    return Table(("provider", "call P95", "attempt P95", "wait a call", "refused", "limit used"), rows)


def _pair(was: str, now: str) -> str:
    return now if was == now else f"{was or '?'} to {now or '?'}"


def _factors(provider: Provider) -> Table:
    change = sum(provider.factors.values())
    rows = [(factor, _signed(provider.factors[factor])) for factor in FACTORS]
    return Table(("by", f"{provider.name}, mean call"), (*rows, ("all", _signed(change))))


def _signed(amount: float) -> str:
    return seconds(amount) if abs(amount) < 0.0005 else signed(seconds(amount))


def _seconds(value: float | None) -> str:
    return "" if value is None else seconds(value)


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _data(question: Question, providers: list[Provider], onset: Onset | None) -> dict[str, object]:
    return {
        "window": {"from": moment(question.at - question.window), "to": moment(question.at)},
        "against": {"from": moment(question.before - question.window), "to": moment(question.before)},
        "unit": "s",
        "since": moment(onset.began) if onset else None,
        "until": moment(onset.ended) if onset and onset.ended else None,
        "providers": [
            {
                "provider": provider.name,
                "stands_out": provider.stands_out,
                "before": _document(provider.before),
                "now": _document(provider.after),
                "limit_used": provider.limit[0] if provider.limit else None,
                "limit": provider.limit[1] if provider.limit else None,
                "factors": dict(provider.factors),
                "cause": words.cause(provider) if provider.stands_out else None,
            }
            for provider in providers
        ],
    }


def _document(timing: Timing) -> dict[str, object]:
    return {
        "calls": timing.calls,
        "p95": timing.p95,
        "attempt_p95": timing.attempt_p95,
        "mean": timing.mean,
        "wait_per_call": timing.wait,
        "outcomes": dict(timing.attempts),
    }
