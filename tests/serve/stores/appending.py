"""Appends from four threads until it is killed, and prints each id that is acknowledged: `appending.py TARGET NAME [COUNT]`.

The target is the address of a store, or `journal:PATH`. The package itself is not imported, which would take seconds.
"""

import sys
import time
import types
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

package = types.ModuleType("polyrec")
package.__path__ = list(find_spec("polyrec").submodule_search_locations)
sys.modules["polyrec"] = package

from polyrec.serve.stores.journal import Appending, Journal  # noqa: E402
from polyrec.serve.stores.opening import open_store  # noqa: E402
from polyrec.serve.stores.records import Event  # noqa: E402

target, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize
if target.startswith("journal:"):
    journal = Journal(Path(target.removeprefix("journal:")))
else:
    store = open_store(target, timeout=10)


def run(thread: int) -> None:
    for number in range(count):
        identifier = f"{name}-{thread}-{number}"
        event = Event(id=identifier, user=f"{name}-{thread}", item="i", type="click", time=float(number))
        if target.startswith("journal:"):
            journal.add(Appending(time.time(), (event,)))
        else:
            store.append([event])
        sys.stdout.write(f"{identifier}\n")
        sys.stdout.flush()


threads = [Thread(target=run, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
