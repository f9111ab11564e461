"""Two jobs that go on for ever in one process, of which none may end unnoticed."""

from collections.abc import Callable
from threading import Event as Stop
from threading import Thread

#: How often it is looked whether a job that is to end has failed meanwhile.
LOOK_SECONDS = 0.1


def together(stop: Stop, **jobs: Callable[[], None]) -> None:
    """Run these on threads of their names until `stop` is set, and they have ended.

    Whatever one of them raises is raised at once, without the others: half of the work is worse than a process that has
    ended, which is seen and started again. Their threads are daemons, so that the process does end.
    """
    failed: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 - raised below, whatever it is
            failed.append(error)
            stop.set()

    threads = [Thread(target=run, args=(job,), name=name, daemon=True) for name, job in jobs.items()]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        while thread.is_alive() and not failed:
            thread.join(LOOK_SECONDS)
    if failed:
        raise failed[0]
