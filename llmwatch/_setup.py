"""Setup: from checked settings to a runtime, with what it took over from the one before."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from llmwatch import _runtime
from llmwatch._baggage import Baggage
from llmwatch._front import site_of
from llmwatch._instruments import publication_on
from llmwatch._providers import global_provider, shows_nothing
from llmwatch._recorder import Recorder
from llmwatch._runtime import Runtime
from llmwatch._sender import Sender, at_exit, close_all
from llmwatch._sharing import share, turn, unshare
from llmwatch._shield import Shield
from llmwatch.cardinality import Budgets
from llmwatch.exposition import Endpoint, Page, Site
from llmwatch.extractors import load_plugins
from llmwatch.metrics import CALL_LABELS
from llmwatch.pricing import PriceBook

if TYPE_CHECKING:
    from llmwatch._settings import Settings
    from llmwatch._targets import OtlpTarget
    from llmwatch._workers import Turn

_FOR_EVER = 1e12  # milliseconds: the SDK counts a time-out by a clock that may jump
_SECONDS = 5.0  # that the end of the process waits for what is to be sent


def install(chosen: Settings, previous: Runtime | None = None, *, serving: bool = True) -> Runtime:
    """Makes a runtime of these settings and puts it in place; if it cannot, the one before stays as it was.

    Args:
        chosen: The settings.
        previous: The runtime of before, if it is not the current one.
        serving: Whether the port, if there is one, is served.

    Raises:
        ValueError: When the provider cannot be read as asked.
        ImportError: When an extra is missing.
        OSError: When the port cannot be bound.
    """
    previous = previous or _runtime.current()
    load_plugins(previous.shield.report)
    book = PriceBook(chosen.prices)
    page, provider, private = _provider(chosen, previous)
    senders = _senders(chosen, page, provider, private, previous)
    site, front = site_of(page, chosen, provider) if page is not None else (None, None)
    share(chosen, page, provider, private, previous.shield)
    try:
        endpoint = _endpoint(chosen, site, previous) if serving else None
    except OSError:
        _withdraw(page, provider, senders, previous)
        raise
    if page is not None:
        page.name(chosen.service_name, provider)
        if not private and page is not previous.page:
            provider.add_metric_reader(page.reader)
    _begin(senders, provider, chosen.service_name)
    runtime = replace(
        previous,
        recorder=_published(chosen, provider, previous, book),
        configured=True,
        provider=provider,
        private=private,
        page=page,
        endpoint=endpoint,
        site=site,
        tls=chosen.tls,
        senders=senders,
        baggage=Baggage(chosen.baggage) if chosen.baggage else None,
        again=partial(_again, chosen),
        inherited=None,
    )
    _replace(previous, runtime)
    if front is not None and endpoint is not None:
        front.watch()
    book.preload()
    return runtime


def uninstall(timeout: float) -> None:
    """Puts a runtime in place that only keeps count, and closes the one before, within so many seconds or so."""
    running = _runtime.installed()
    if running.provider is None and running.inherited is None:  # nothing to close, and it keeps count already
        _runtime.install(replace(running, configured=True))
        return
    shield = Shield(strict=running.shield.strict)
    unpublished = Runtime.unpublished(shield, configured=True)
    stopped = _runtime.install(unpublished)
    close_all(stopped.senders, timeout)
    _dismiss(stopped, unpublished)
    if stopped.private:  # a provider of the program's goes on to show what open calls bring
        unpublished.recorder.follow(stopped.recorder)


def _again(chosen: Settings, inherited: Runtime, previous: Runtime) -> None:
    """In a forked child: the same, with a page, a provider and senders of its own, and without the parent's port.

    Where the workers share a port, the child may have its turn. A provider of the program's own stays.
    """
    shared = inherited.page is not None and inherited.page.team is not None
    if chosen.port is not None and not shared:
        previous.shield.advise(
            f"this process was forked from one that serves metrics on port {chosen.port}; what it counts itself is not "
            "on that page. Set LLMWATCH_WORKER_DIR, or configure(worker_dir=...), and it is"
        )
    install(chosen, previous, serving=shared)


def _withdraw(page: Page | None, provider: Any, senders: Iterable[Sender], previous: Runtime) -> None:
    """Lets go of what was made for a configuration that is refused after all."""
    if page is not None and page is not previous.page and page.team is not None:
        unshare(replace(previous, page=page, provider=provider, private=True), previous)
    for sender in set(senders) - set(previous.senders):
        sender.delivery.stop()


def _published(chosen: Settings, provider: Any, previous: Runtime, book: PriceBook) -> Recorder:
    """A recorder of these settings, shown on the provider with all that it takes over."""
    recorder = Recorder(
        previous.shield,
        budgets=Budgets(chosen.label_limits, chosen.labels),
        declared=tuple(name for name in chosen.labels if name not in CALL_LABELS),
        semconv=chosen.semconv,
        book=book,
    )
    publication = publication_on(provider)
    adopted = [publication.recorder] if publication.recorder is not None else []
    if previous.private or shows_nothing(previous.provider):
        adopted.append(previous.recorder)
    publication.show(recorder, *adopted)
    return recorder


def _replace(previous: Runtime, following: Runtime) -> None:
    """Puts a runtime in the place of another, of which nothing stays that it has not taken over."""
    if following.page is not None and following.page.team is not None:
        following.page.team.start()
    _runtime.install(following)
    _dismiss(previous, following)


def _dismiss(previous: Runtime, following: Runtime) -> None:
    """Closes what the next configuration has not taken over from the one before."""
    if previous.endpoint is not None and previous.endpoint is not following.endpoint:
        previous.endpoint.close()
    for sender in previous.senders:
        if sender not in following.senders:
            sender.end()
    if previous.page is None or previous.page is following.page:
        return
    unshare(previous, following)
    previous.page.live = None  # so that nobody samples it any more
    try:
        if previous.private:
            previous.provider.shutdown(_FOR_EVER)
        elif hasattr(previous.provider, "remove_metric_reader"):
            previous.provider.remove_metric_reader(previous.page.reader)
    except Exception as error:
        previous.shield.report("shutdown", error)


def _provider(chosen: Settings, previous: Runtime) -> tuple[Page | None, Any, bool]:
    """The page, the provider and whether that is ours alone; those of before where they will do."""
    provider = chosen.meter_provider if chosen.meter_provider is not None else global_provider()
    if provider is None:
        if previous.private and previous.page is not None:
            return previous.page, previous.provider, True
        page = Page(chosen.service_name)
        return page, page.private_provider(), True
    if previous.provider is provider and previous.page is not None:
        return previous.page, provider, False
    argument = next((name for name in ("port", "pushgateway", "worker_dir") if getattr(chosen, name) is not None), None)
    if argument is None:
        return None, provider, False
    _check_takes_readers(provider, argument)
    return Page(chosen.service_name), provider, False


def _check_takes_readers(provider: Any, argument: str) -> None:
    if not hasattr(provider, "add_metric_reader"):
        raise ValueError(
            f"configure({argument}=...): this meter provider takes no further reader; serve its own instead"
        )


def _endpoint(chosen: Settings, site: Site | None, previous: Runtime) -> Endpoint | Turn | None:
    """Who serves the site from now on; the one before goes on until the new one is there."""
    if chosen.port is None or site is None:
        return None
    running: Endpoint | Turn | None = previous.endpoint
    team = site.page.team if chosen.port else None
    shared_as_before = getattr(running, "folder", None) is (team.folder if team is not None else None)
    if running is not None and shared_as_before and running.is_at(chosen.host, chosen.port):
        running.show(site, chosen.tls)
        return running
    if running is not None and running.port == chosen.port:  # it stands in the new one's way
        running.close()
    try:
        if team is not None:
            return turn(chosen, site, team, previous.shield)
        return Endpoint(site, chosen.host, chosen.port, chosen.tls)
    except OSError as error:
        remedy = _ONE_OF_MANY if error.errno == errno.EADDRINUSE else ""
        raise OSError(
            error.errno, f"configure(port={chosen.port}): cannot serve on {chosen.host}: {error.strerror}{remedy}"
        ) from None


_ONE_OF_MANY = (
    "; where that is another worker of the same application, set LLMWATCH_WORKER_DIR, or configure(worker_dir=...), "
    "and one of them serves for all"
)


def _senders(
    chosen: Settings, page: Page | None, provider: Any, private: bool, previous: Runtime
) -> tuple[Sender, ...]:
    """Who sends the totals elsewhere: those of before where they will do, and new ones, which are not started yet."""
    running: list[Sender] = [sender for sender in previous.senders if sender.healthy]
    if previous.provider is not provider or previous.page is not page:
        running = []
    makers: list[tuple[Any, Any]] = []
    if otlp := _otlp_target(chosen, private):
        makers.append((otlp, lambda: _otlp_sender(otlp, provider, previous.shield)))
    if (push := chosen.pushgateway) is not None and page is not None:
        makers.append((push, lambda: _push_sender(push, page)))
    made = []
    for target, make in makers:
        sender = next((each for each in running if each.delivery.target == target), None) or make()
        made += [sender] if sender is not None else []
    return tuple(made)


def _otlp_target(chosen: Settings, private: bool) -> OtlpTarget | Literal[False] | None:
    """Where to send; OpenTelemetry's variables alone say so only where no provider of the program's follows them."""
    from llmwatch._targets import otlp_by_variables

    return otlp_by_variables() if chosen.otlp is None and private else chosen.otlp


def _otlp_sender(target: OtlpTarget, provider: Any, shield: Shield) -> Sender | None:
    from llmwatch._otlp import OtlpDelivery
    from llmwatch._targets import export_interval

    _check_takes_readers(provider, "otlp")
    interval = export_interval()
    try:
        return Sender(OtlpDelivery(target), interval)
    except ImportError as error:
        if target.stated:
            raise
        shield.warn_once("otlp", f"OpenTelemetry's variables ask for OTLP, but nothing is sent: {error}")
        return None


def _push_sender(target: Any, page: Page) -> Sender:
    from llmwatch._push import PushDelivery

    return Sender(PushDelivery(target, page.render), None)


def _begin(senders: Iterable[Sender], provider: Any, service_name: str | None) -> None:
    """Names all of them anew, and starts those that are new."""
    for sender in senders:
        sender.delivery.name(service_name)
        if not sender.alive:
            sender.delivery.attach(provider)
            sender.start()
            at_exit(_end)


def _end() -> None:
    """At the end of the process, what has not been sent yet is."""
    close_all(_runtime.installed().senders, _SECONDS)
