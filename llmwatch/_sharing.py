"""Sharing: one page, and one port, for all processes of an application, where `worker_dir` says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmwatch._instruments import Publication, publication_on
from llmwatch.exposition import Endpoint, Page, Site
from llmwatch.exposition._page import service_of

if TYPE_CHECKING:
    from llmwatch._runtime import Runtime
    from llmwatch._settings import Settings
    from llmwatch._shield import Shield
    from llmwatch._workers import Team, Totals, Turn


def share(chosen: Settings, page: Page | None, provider: Any, private: bool, shield: Shield) -> None:
    """Makes the page that of all workers of the application, or of this process alone, as the settings say."""
    if page is None or (chosen.worker_dir is None and page.team is None):
        return
    from llmwatch._workers import Folder, dismiss, folder_of, join

    if chosen.worker_dir is None:
        left = page.share(None)
    else:
        path = folder_of(chosen.worker_dir, service_of(chosen.service_name, provider))
        if page.team is not None and page.team.folder.path == path:
            return
        publication = publication_on(provider) if private else None
        # On a provider of the program's own there are other instruments, and only collecting tells what they have.
        changes: Callable[[], Any] = publication.changes if publication is not None else _unknown
        left = page.share(join(Folder(path), _collector(page, publication), changes, _reporter(shield)))
    if left is not None:
        dismiss(left, moved=True)


def unshare(previous: Runtime, following: Runtime) -> None:
    """Leaves the workers whose page was given up; the counters of a provider of ours have moved to the next one."""
    if previous.page is not None and previous.page.team is not None:
        from llmwatch._workers import dismiss

        team: Team = previous.page.team
        moved = previous.private and following.provider is not None
        dismiss(team, moved=moved)
        if not previous.private:  # a later configuration on the same provider counts from 0, beside what stays there
            publication_on(previous.provider).recorder = None


def turn(chosen: Settings, site: Site, team: Team, shield: Shield) -> Turn:
    """The port, served by whichever worker has the turn.

    Raises:
        OSError: When the address cannot be bound for another reason than that it is taken.
    """
    from llmwatch._workers import Turn

    host, port = chosen.host, chosen.port or 0

    def serve(site: Site, tls: Any) -> Endpoint:
        return Endpoint(site, host, port, tls)

    url = f"{'http' if chosen.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
    warn = _warner(shield)
    return Turn(team.folder, serve, (host, port), (site, chosen.tls), url, warn)


def _collector(page: Page, publication: Publication | None) -> Callable[[], Totals]:
    """Collects what this process has; of our own publication alone in a quicker way than the reader's."""
    from llmwatch._workers import collected, counted

    def collect() -> Totals:
        found = publication.snapshot(page.reader) if publication is not None else None
        if found is not None:
            return counted(found, "llmwatch")
        data = page.reader.taken()
        return collected(data) if data is not None else {}

    return collect


def _unknown() -> None:
    return None


def _reporter(shield: Shield) -> Callable[[Exception], None]:
    def report(error: Exception) -> None:
        with shield.silence(aside=True):  # there are locks around it
            shield.report("workers", error)

    return report


def _warner(shield: Shield) -> Callable[[str], None]:
    def warn(message: str) -> None:
        with shield.silence(aside=True):
            shield.warn_once("port", message)

    return warn
