"""A PostgreSQL server of our own, on a free port of the loopback, for as long as the tests run."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a server and return its uri, with a password in it; a machine without PostgreSQL fails the tests."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    assert found, "the tests need a PostgreSQL server: apt-get install postgresql (see .ci/services.sh)"
    folder = Path(tempfile.mkdtemp(prefix="polyrec-postgresql-"))
    as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_other:
        shutil.chown(folder, "postgres")
    password, data = folder / "password", folder / "data"
    password.write_text("s3cret-word")
    password.chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [*as_other, str(Path(found[-1]).with_name(program)), "-D", str(data), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run("initdb", "--username=reader", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8")
    run("pg_ctl", "start", "--wait", "--log", str(folder / "log"), "-o", f"-p {port} -h 127.0.0.1 -k {folder}")
    try:
        yield f"postgresql://reader:s3cret-word@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "stop", "--wait", "--mode=fast")
        shutil.rmtree(folder)
