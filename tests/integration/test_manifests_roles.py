"""deploy/postgres/roles.sh on a real PostgreSQL: a role and a database for each service, and nobody reads another's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tools import migrated, secret_files
from tools.entrypoint import complete, read_secrets
from tools.migrate import migrate_all
from tools.paths import ROOT, SERVICES
from tools.postgres import Postgres, _binaries

SCRIPT = ROOT / "deploy" / "postgres" / "roles.sh"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Path]]:
    folder = tmp_path_factory.mktemp("roles")
    secrets = folder / "secrets"
    secret_files.make(secrets)
    (secrets / "ORDER_DATABASE_PASSWORD").unlink()
    (secrets / "ORDER_DATABASE_PASSWORD").write_text("it's \"a\" \\ pass:word@$(X)\n")  # any character may be in it
    node = Postgres(folder / "postgres", password="admin")
    node.start()
    yield node, secrets
    node.remove()


def run(node: Postgres, secrets: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{_binaries()}:{os.environ['PATH']}", "SECRETS_DIR": str(secrets),
           "PGHOST": "127.0.0.1", "PGPORT": str(node.port), "PGPASSWORD": "admin"}  # fmt: skip
    return subprocess.run(["bash", str(SCRIPT)], env=env, capture_output=True, text=True, timeout=60)


def uris(node: Postgres, secrets: Path) -> dict[str, str]:
    """The addresses as compose and Kubernetes give them, completed as the image's entrypoint does."""
    return complete(
        {f"{name.upper()}_DB_URI": f"postgresql+psycopg2://oss_{name}:$({name.upper()}_DATABASE_PASSWORD)"
                                   f"@127.0.0.1:{node.port}/oss_{name}" for name in SERVICES},
        read_secrets(secrets),
    )  # fmt: skip


def test_each_service_has_its_own_database_and_no_other(
    server: tuple[Postgres, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, secrets = server
    done = run(node, secrets)
    assert done.returncode == 0, done.stderr
    given = uris(node, secrets)
    migrate_all(given)  # the prepare job, with the roles' own rights
    for name in SERVICES:
        monkeypatch.setenv(f"{name.upper()}_DB_URI", given[f"{name.upper()}_DB_URI"])
        assert migrated.main([name, "--timeout", "0"]) == 0, "the init container lets the service start"
    for name in SERVICES:
        for other in SERVICES:
            url = sa.make_url(given[f"{name.upper()}_DB_URI"]).set(database=f"oss_{other}")
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            if other != name:
                with pytest.raises(sa.exc.OperationalError, match="permission denied for database"):
                    engine.connect()


def test_a_missing_secret_stops_it_before_anything_is_half_made(tmp_path: Path, server: tuple[Postgres, Path]) -> None:
    node, _ = server
    done = run(node, tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"roles.sh: {tmp_path}/ORDER_DATABASE_PASSWORD is missing or empty\n"
