"""Many workers, one page: real processes that share a directory, and what can happen to them and to it."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from recording import Collected, parsed
from serving import Program, free_port, get, successes, until

from llmwatch._workers._sums import condensed, total
from llmwatch._workers._totals import Distribution
from llmwatch._workers._worker import Pace

Starter = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts programs that share a directory, and ends those that still run."""
    running: list[Program] = []

    def one(*arguments: str, **variables: str) -> Program:
        running.append(Program(tmp_path, *arguments, **variables))
        return running[-1]

    yield one
    for program in running:
        program.kill()


def files(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in (folder / "workers").glob(f"*/{pattern}") if path.is_file())


def the_folder(folder: Path) -> Path:
    (found,) = (folder / "workers").iterdir()
    return found


def dollars(page: str) -> list[str]:
    """The lines of what was spent, to the last digit."""
    return sorted(line for line in page.splitlines() if line.startswith(("ai_cost_dollars", "ai_request_duration")))


# --- One page


def test_every_worker_s_page_has_what_all_of_them_have_counted(start: Starter) -> None:
    programs = [start() for _ in range(3)]
    for times, program in enumerate(programs, 1):
        program(f"call({times})")
        program(f"call(1, feature='only{times}')")

    for page in (program.page() for program in programs):
        assert page.total("ai_requests", status="success", feature="chat") == 6
        assert [page.total("ai_requests", status="success", feature=f"only{n}") for n in (1, 2, 3)] == [1, 1, 1]
        assert page.count("ai_request_duration", feature="chat", status="success") == 6
        assert page.total("ai_tokens", direction="input") == 9 * 100
        assert page.total("ai_active_requests") == 0


def test_the_page_of_one_worker_is_the_page_that_it_would_have_alone(start: Starter) -> None:
    shared, alone = start(), start(LLMWATCH_WORKER_DIR="", LLMWATCH_SERVICE_NAME="shop")
    changing = re.compile(r"(_sum|_bucket)\{.*|(service_instance_id=)\"[^\"]*\"|(ai_price_table_age_seconds ).*")
    for accept in ("", "application/openmetrics-text; version=1.0.0"):
        pages = []
        for program in (shared, alone):
            program("call(2)")
            program("remaining(7)")
            pages.append(changing.sub(r"\1\2\3", program(f"page({accept!r})")).splitlines())

        assert len(pages[0]) > 50
        assert sorted(pages[0]) == sorted(pages[1])


def test_all_workers_name_the_same_target_and_it_stays_when_they_are_replaced(start: Starter) -> None:
    first, second = start(), start()
    instances = {program.page().one("target_info").labels["service_instance_id"] for program in (first, second)}
    first.kill()
    second.kill()
    third = start().page().one("target_info").labels

    assert instances == {third["service_instance_id"]}
    assert third["service_name"] == "shop"


def test_what_is_open_adds_up_and_of_a_gauge_the_latest_value_counts(start: Starter) -> None:
    first, second = start(), start()
    first("begin(2)")
    second("begin(3)")
    first("remaining(50)")
    first("page() and None")
    second("remaining(40)")
    latest = [program.page().total("ai_rate_limit_remaining") for program in (first, second)]
    first("remaining(60)")

    assert latest == [40, 40]
    assert second.page().total("ai_rate_limit_remaining") == 60
    assert first.page().total("ai_active_requests") == 5


def test_instruments_of_the_program_s_own_provider_are_on_the_page_too(start: Starter) -> None:
    own = (
        "[m := __import__('opentelemetry.sdk.metrics', fromlist=['x']), "
        "provider := m.MeterProvider(shutdown_on_exit=False), llmwatch.configure(meter_provider=provider), "
        "globals().update(theirs=provider.get_meter('theirs').create_counter('theirs'))] and None"
    )
    programs = [start(UNCONFIGURED="1") for _ in range(2)]
    for program in programs:
        program(own)
        program("theirs.add(4, {'way': 'up', 'n': 1})")
        program("call()")

    for program in programs:
        page = program.page()
        assert page.total("theirs_total", way="up", n="1") == 8
        assert page.total("ai_requests", status="success") == 2
        assert page.count("ai_request_duration", status="success") == 2


def test_without_a_directory_for_workers_nothing_of_this_is_loaded_or_running(start: Starter) -> None:
    alone, shared = start(LLMWATCH_WORKER_DIR=""), start()
    loaded = "any(name.startswith('llmwatch._workers') for name in sys.modules)"

    assert (alone(loaded), shared(loaded)) == (False, True)
    assert "llmwatch-worker" not in alone("threads()")
    assert "llmwatch-worker" in shared("threads()")


# --- Workers that are gone


def test_what_a_worker_has_counted_outlives_it_and_what_it_had_open_does_not(start: Starter) -> None:
    staying, ending, killed = start(), start(), start()
    ending("call(5)")
    killed("call(7)")
    killed("begin(2)")
    before = staying.page()
    ending.end()
    killed.kill()
    after = staying.page()

    assert [page.total("ai_requests", status="success") for page in (before, after)] == [12, 12]
    assert [page.count("ai_request_duration", status="success") for page in (before, after)] == [12, 12]
    assert [page.total("ai_active_requests") for page in (before, after)] == [2, 0]


def test_a_worker_that_ends_right_after_a_call_is_counted(start: Starter) -> None:
    staying, short = start(), start()
    short("call()")
    short.end()

    assert staying.successes() == 1


def test_a_killed_worker_loses_no_more_than_the_last_second(start: Starter) -> None:
    staying, killed = start(), start()
    killed("call(5)")
    time.sleep(1.5)
    killed("call(3)")
    killed.kill()

    assert 5 <= staying.successes() <= 8


def test_dead_workers_are_archived_and_no_total_changes_by_that_in_its_last_digit(
    start: Starter, tmp_path: Path
) -> None:
    staying = start()
    for _ in range(4):
        program = start()
        program("call(3)")
        program.page()
        program.kill()
    before = staying("page()")
    until(lambda: staying("page()") and len(files(tmp_path, "*.totals")) == 1, "the archive")

    assert parsed(before).total("ai_requests", status="success") == 12
    assert dollars(staying("page()")) == dollars(before)
    assert len(files(tmp_path, "*.worker")) == 1


def test_a_file_that_is_left_behind_after_it_was_archived_is_not_counted_again(start: Starter, tmp_path: Path) -> None:
    staying, killed = start(), start()
    killed("call(4)")
    killed.page()
    killed.kill()
    (name,) = (path.name for path in files(tmp_path, f"{killed.pid}-*.totals"))
    left = (the_folder(tmp_path) / name).read_bytes()
    until(lambda: staying("page()") and not files(tmp_path, f"{killed.pid}-*"), "the archive")
    (the_folder(tmp_path) / name).write_bytes(left)  # as when the process that archived it had died in between

    assert [program.successes() for program in (staying, start())] == [4, 4]
    until(lambda: staying("page()") and not files(tmp_path, f"{killed.pid}-*"), "the removal")
    assert staying.successes() == 4


def test_a_process_id_that_is_used_again_makes_nobody_alive(start: Starter, tmp_path: Path) -> None:
    staying, killed = start(), start()
    killed("call(4)")
    killed("begin()")
    killed.page()
    killed.kill()
    for path in files(tmp_path, f"{killed.pid}-*"):
        path.rename(path.with_name(path.name.replace(str(killed.pid), str(staying.pid), 1)))
    page = staying.page()

    assert page.total("ai_requests", status="success") == 4
    assert page.total("ai_active_requests") == 0


def test_the_totals_go_on_when_all_workers_are_started_anew(start: Starter) -> None:
    first = start()
    first("call(3)")
    first.end()
    second = start()
    second("call(2)")

    assert second.successes() == 5


# --- Applications


def test_two_services_that_share_a_directory_do_not_mix(start: Starter) -> None:
    shop, bank = start(), start(LLMWATCH_SERVICE_NAME="bank")
    shop("call(2)")
    bank("call(3)")

    assert (shop.successes(), bank.successes()) == (2, 3)


def test_services_without_a_name_are_told_apart_by_the_application_that_they_run(start: Starter) -> None:
    unnamed = {"LLMWATCH_SERVICE_NAME": ""}
    shop, too, bank = start("shop:app", **unnamed), start("shop:app", **unnamed), start("bank:app", **unnamed)
    shop("call(2)")
    bank("call(3)")

    assert [program.successes() for program in (shop, too, bank)] == [2, 2, 3]


def test_the_directory_that_prometheus_client_uses_is_shared_with_it(start: Starter, tmp_path: Path) -> None:
    variables = {"LLMWATCH_WORKER_DIR": "", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "workers")}
    (tmp_path / "workers").mkdir()
    programs = [start(**variables) for _ in range(2)]
    for program in programs:
        program("call(2)")

    assert [program.successes() for program in programs] == [4, 4]
    assert list((tmp_path / "workers").glob("*.db")) == []


# --- Reconfiguration


def test_a_worker_that_is_configured_again_counts_nothing_twice(start: Starter) -> None:
    first, second = start(), start()
    first("call(3)")
    first.page()
    first("llmwatch.configure(label_limits={'feature': 50}) and None")
    first("call(2)")
    again = second.successes()
    first("llmwatch.shutdown()")
    after_shutdown = second.successes()
    first("llmwatch.configure() and None")
    first("call(1)")

    assert (again, after_shutdown, second.successes()) == (5, 5, 6)


def test_a_worker_that_gets_another_name_takes_along_what_it_has_counted(start: Starter) -> None:
    moving, shop, bank = start(), start(), start(LLMWATCH_SERVICE_NAME="bank")
    moving("call(3)")
    shop("call(1)")
    before = shop.successes()
    moving("llmwatch.configure(service_name='bank') and None")
    moving("call(1)")

    assert (before, shop.successes(), bank.successes()) == (4, 1, 4)


def test_a_page_may_become_one_of_many_and_its_own_again(start: Starter, tmp_path: Path) -> None:
    one, other = start(LLMWATCH_WORKER_DIR=""), start()
    one("call(2)")
    other("call(3)")
    alone = one.successes()
    one(f"llmwatch.configure(worker_dir={str(tmp_path / 'workers')!r}) and None")
    together = one.page()
    one("llmwatch.configure() and None")
    again = one.page()

    assert (alone, together.total("ai_requests", status="success")) == (2, 5)
    assert together.count("ai_request_duration", status="success") == 5
    assert again.total("ai_requests", status="success") == 2
    assert again.count("ai_request_duration", status="success") == 2
    assert other.successes() == 3


# --- The port


def test_one_worker_has_the_port_and_another_takes_over_when_it_is_killed(start: Starter) -> None:
    port = free_port()
    programs = [start(LLMWATCH_PORT=str(port)) for _ in range(3)]
    for program in programs:
        program("call(2)")
    urls = {program("llmwatch.configure().url") for program in programs}
    before = successes(port)
    (serving,) = (program for program in programs if program("_runtime.current().endpoint.serving"))
    serving.kill()
    until(lambda: can_connect(port), "the next one")

    assert urls == {f"http://127.0.0.1:{port}"}
    assert (before, successes(port)) == (6, 6)


def test_a_port_that_somebody_else_has_is_no_error_and_is_served_when_it_is_free(start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        program = start(LLMWATCH_PORT=str(port))
        program("call()")
        until(lambda: "is taken" in program.log, "the warning")
    until(lambda: can_connect(port), "the page")

    assert successes(port) == 1
    assert program.log.count("is taken") == 1


def test_without_a_directory_for_workers_a_taken_port_is_an_error_that_names_the_remedy(start: Starter) -> None:
    program = start(UNCONFIGURED="1", LLMWATCH_WORKER_DIR="")
    with socket.create_server(("127.0.0.1", 0)) as foreign, pytest.raises(AssertionError, match="LLMWATCH_WORKER_DIR"):
        program(f"llmwatch.configure(port={foreign.getsockname()[1]})")


def can_connect(port: int) -> bool:
    try:
        return bool(get(port, "/healthz", 5))
    except OSError:
        return False


# --- Children of multiprocessing


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_calls_of_a_pool_s_processes_are_counted_when_it_is_closed(start: Starter, method: str) -> None:
    program, witness = start(), start()
    program("call(2)")
    program(
        f"[pool := __import__('multiprocessing').get_context({method!r}).Pool(2, "
        f"{'llmwatch.configure' if method == 'spawn' else None}), "
        "pool.map(__import__('worker_calls').one, range(40)), pool.close(), pool.join()] and None"
    )

    assert program.successes(feature="pool") == 40
    assert witness.successes() == 42
    assert witness.page().total("ai_active_requests") == 0


def test_a_child_that_ends_without_notice_is_counted_when_it_has_flushed(start: Starter) -> None:
    program = start()
    program("fork_and_call(3, flushing=True)")
    program("fork_and_call(4, flushing=True)")
    program("call()")

    assert program.successes() == 8


def test_what_is_new_is_written_soon_but_not_all_the_time() -> None:
    pace = Pace()
    pace.took(0.0, 0.005)

    assert not pace.due(0.2, "two", "one")  # something new all the time: a hundredth of the time goes into writing
    assert pace.due(0.2 + 0.1, "two", "one")  # nothing more has come for a tenth of a second
    assert not pace.due(0.4, "three", "one")
    assert pace.due(0.51, "four", "one")
    assert not pace.due(9.0, "one", "one")
    pace.took(9.0, 9.5)
    assert not pace.due(10.4, "five", "one")
    assert pace.due(10.5, "six", "one")  # a second, however long it takes


# --- Faults


def internal_errors(page: Collected) -> float:
    return page.total("llmwatch_internal_errors", where="workers")


def test_a_full_disk_is_reported_once_and_what_was_counted_meanwhile_is_there_when_it_ends(start: Starter) -> None:
    full, other = start(), start()
    full("call(3)")
    before = other.successes()
    full("no_space(100)")
    full("call(4)")
    time.sleep(1.2)
    meanwhile = [full.successes(), other.successes(), full.successes()]
    full("no_space(None)")
    after = [full.page(), other.page()]

    assert (before, meanwhile) == (3, [3, 3, 3])
    assert [page.total("ai_requests", status="success") for page in after] == [7, 7]
    assert [internal_errors(page) for page in after] == [1, 1]
    assert full.log.count("llmwatch failed in workers") == 1


def test_a_disk_that_was_full_from_the_start_leaves_each_worker_its_own_page(start: Starter) -> None:
    program = start(UNCONFIGURED="1")
    program("no_space(4)")
    program("llmwatch.configure() and None")
    program("call(3)")
    meanwhile = program.successes()
    program("no_space(None)")
    program("call(1)")

    assert meanwhile == 3
    assert program.successes() == 4
    until(lambda: start().successes() == 4, "what it has written")


def test_a_removed_directory_is_made_again_and_no_total_falls(start: Starter, tmp_path: Path) -> None:
    first, second, killed = start(), start(), start()
    for program in (first, second, killed):
        program("call(2)")
    killed.page()
    killed.kill()
    until(lambda: first("page()") and len(files(tmp_path, "*.totals")) == 2, "the archive")
    shutil.rmtree(tmp_path / "workers")
    during = first.successes()
    first("call(1)")
    second("call(1)")
    until(lambda: second("page()") and len(files(tmp_path, "*.totals")) == 2, "the files")

    assert during == 6
    assert first.successes() == 8


def test_a_truncated_file_of_a_worker_that_lives_is_written_again_before_it_is_read(
    start: Starter, tmp_path: Path
) -> None:
    first, second = start(), start()
    first("call(2)")
    second("call(3)")
    first.page()
    for path in files(tmp_path, "*.totals"):
        os.truncate(path, path.stat().st_size // 2)

    assert (first.successes(), second.successes()) == (5, 5)
    assert internal_errors(first.page()) == 0


@pytest.mark.parametrize("damage", ["", "nothing of ours", "llmwatch 1 00000000 2\n{}", '[["llmwatch"'])
def test_a_damaged_file_of_a_dead_worker_is_reported_once_and_left_out(
    start: Starter, tmp_path: Path, damage: str
) -> None:
    staying, killed = start(), start()
    staying("call(2)")
    staying.page()
    killed("call(3)")
    killed.page()
    killed.kill()
    (path,) = files(tmp_path, f"{killed.pid}-*.totals")
    path.write_text(damage)
    late = start()  # which has not seen it whole
    pages = [late.page() for _ in range(3)]

    assert [page.total("ai_requests", status="success") for page in pages] == [2, 2, 2]
    assert internal_errors(late.page()) == 1
    until(lambda: late("page()") and files(tmp_path, "*.corrupt"), "the damaged file aside")
    assert late.successes() == 2


def test_a_damaged_archive_is_replaced_by_whoever_has_read_it(start: Starter, tmp_path: Path) -> None:
    staying, killed = start(), start()
    killed("call(3)")
    killed.page()
    killed.kill()
    until(lambda: staying("page()") and files(tmp_path, "archive"), "the archive")
    (the_folder(tmp_path) / "archive").write_text("{")
    found = [staying.successes(), staying.successes(), start().successes()]

    assert found == [3, 3, 3]


def test_a_directory_that_cannot_be_made_leaves_the_worker_its_own_page(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    program = start(LLMWATCH_WORKER_DIR=str(tmp_path / "a file" / "workers"))
    program("call(2)")

    assert program.successes() == 2
    assert program.log.count("llmwatch failed in workers") == 1


def test_a_worker_that_is_stopped_delays_a_scrape_and_is_counted_by_what_it_has_written(start: Starter) -> None:
    stopped, asking = start(), start()
    stopped("call(3)")
    asking.page()
    os.kill(stopped.pid, 19)
    asking("call(1)")
    found = [asking.successes() for _ in range(3)]
    os.kill(stopped.pid, 18)
    stopped("call(1)")

    assert found == [4, 4, 4]
    assert asking.successes() == 5


# --- Sums


values = st.lists(st.integers(0, 10**6) | st.floats(0, 1e9), min_size=1, max_size=12)


@hypothesis.given(values, st.randoms(use_true_random=False))
def test_a_total_does_not_depend_on_what_was_added_up_before(parts: list[int | float], random: object) -> None:
    archived, grouped = list(parts), []
    random.shuffle(archived)  # type: ignore[attr-defined]
    for start_of in range(0, len(archived), 3):
        grouped = condensed([*grouped, *condensed(archived[start_of : start_of + 3])])

    assert float(total(grouped)) == math.fsum(parts)


@hypothesis.given(values, st.floats(0, 1e9))
def test_a_total_never_falls_when_something_is_added(parts: list[int | float], more: float) -> None:
    assert total([*condensed(parts), more]) >= total(parts)


def test_what_cannot_be_added_exactly_is_added_all_the_same() -> None:
    assert total([float("inf"), 1.0]) == float("inf")
    assert math.isnan(total([float("inf"), float("-inf")]))
    assert condensed([float("inf"), 1]) == [float("inf")]


def test_histograms_with_other_buckets_are_added_into_the_buckets_that_hold_them() -> None:
    mine = Distribution((0.1, 1.0, 10.0), [1, 1, 1, 1], [12.0])
    mine.add(Distribution((0.5, 20.0), [3, 4, 5], [7.0]))

    assert mine.counts == [1, 4, 1, 10]
    assert total(mine.sums) == 19
