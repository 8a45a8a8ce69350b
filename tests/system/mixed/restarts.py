"""Outages that begin with a restart of the whole system."""

import os
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psutil

from app.command_line import PROJECT
from app.embedded.cache_damage import WAYS
from app.embedded.postgres import PostgresServer
from app.embedded.private_files import load_or_create_credentials
from tests.patience import COMMAND_S
from tests.system.mixed.replaced import PENDING_S, await_named
from tests.system.mixed.stage import Loss, Stage

WITNESS = """
CREATE TABLE who_posts (who text, work_mem text, PRIMARY KEY (who, work_mem));
GRANT SELECT, INSERT ON who_posts TO holdfast_app;
CREATE FUNCTION who_posts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.who_posts VALUES (current_user, current_setting('work_mem')) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER who_posts AFTER INSERT ON ledger_transaction FOR EACH STATEMENT EXECUTE FUNCTION who_posts();
"""
NO_WITNESS = "DROP TRIGGER who_posts ON ledger_transaction; DROP FUNCTION who_posts(); DROP TABLE who_posts"

WORK_MEM = "5MB"

FROM_THE_END = 30_000
"""Bytes of the cache's log after the damage: some ten payments."""


def options_in_url(stage: Stage) -> None:
    """O11: the ledger's URL has options, and logs in as the owner; the processes act as the app's role all the same."""
    system = stage.system
    with stage.outage("O11", "options in DATABASE_URL, which logs in as the owner"):
        system.stop()
        ledger = PostgresServer(system.data_dir, load_or_create_credentials(system.data_dir / "secrets.json"))
        ledger.begin()
        ledger.finish()
        url = f"{ledger.owner_url}?options={quote(f'-c work_mem={WORK_MEM}')}"
        own = {"DATABASE_URL": url, "HOLDFAST_OWNER_DATABASE_URL": ledger.owner_url}
        try:
            system.environment |= own
            system.start()
            stage.sql(WITNESS)
            stage.last()
            stage.wait(lambda: stage.sql("SELECT 1 FROM who_posts") != [], 60.0, "O11: something is posted")
            found = stage.sql("SELECT who, work_mem FROM who_posts")
            if found != [("holdfast_app", WORK_MEM)]:
                stage.find(f"O11: posted as {found}")
            stage.sql(NO_WITNESS)
            system.stop()
        finally:
            for name in own:
                system.environment.pop(name, None)
            ledger.stop()
        system.start()


def damaged_log(stage: Stage) -> None:
    """O13: everything is killed, and the end of the cache's log is damaged; the one manual step is the documented."""
    system, way = stage.system, stage.chance.choice(WAYS)
    with stage.outage("O13", f"everything killed, the cache's log damaged near its end, {way}") as one:
        with stage.suspended("workers.drain"):
            time.sleep(stage.chance.uniform(*PENDING_S))
            _kill_everything(stage)
        _damage(stage.cache_data())
        refused = subprocess.run(
            system.command("up", "--port", str(system.port)),
            cwd=PROJECT,
            env=system.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        said = refused.stdout + refused.stderr
        if refused.returncode == 0 or "damaged in the middle" not in said or f"--damaged-cache {way}" not in said:
            stage.find(f"O13: exit code {refused.returncode}: {said}")
        system.start("--damaged-cache", way)
        await_named(stage, one)
    stage.losses.append(Loss("O13", one.began_at, one.ended_at, is_named_by_id=False))


def _kill_everything(stage: Stage) -> None:
    """As when the machine loses its power, except that the disk has what was written."""
    up = stage.up
    up.suspend()
    everything = up.children(recursive=True)
    for process in [*everything, up]:
        process.kill()
    assert stage.system.process is not None
    stage.system.process.wait()
    stage.system.process = None
    _, alive = psutil.wait_procs(everything, timeout=60)
    if alive:
        stage.find(f"O13: still alive: {alive}")


def _damage(data: Path) -> None:
    """Overwrite the beginning of a command in the last file of the log."""
    [manifest] = (data / "appendonlydir").glob("*.manifest")
    name = manifest.read_text().splitlines()[-1].split()[1]
    with (data / "appendonlydir" / name).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 2 * FROM_THE_END)
        file.seek(start)
        end = file.read()
        at = end.rfind(b"\r\n*", 0, max(16, len(end) - FROM_THE_END)) + 2
        file.seek(start + at)
        file.write(b"X" * 12)


def killed_with_everything(stage: Stage) -> None:
    """K6: everything killed at once, and started again; every acknowledged write is on disk."""
    with stage.outage("K6", "everything killed at once, and started again"):
        _kill_everything(stage)
        stage.system.start()


def stopped_and_started(stage: Stage) -> None:
    """K7: an orderly restart."""
    with stage.outage("K7", "stopped in order and started again"):
        stage.system.stop()
        stage.system.start()
