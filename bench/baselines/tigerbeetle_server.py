"""One TigerBeetle replica on a scratch file, with the wallets of the workload; only where its program is given."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded.child_process import free_port, open_log, start_child, stop_child

BATCH = 8_000


class TigerBeetleServer:
    """Formats, starts, opens accounts. Needs the client package `tigerbeetle` in the program's own version."""

    def __init__(self, program: Path, directory: Path, accounts: int) -> None:
        self._program = program.resolve()
        self._file = directory / "0_0.tigerbeetle"
        self._log = directory / "tigerbeetle.log"
        self._accounts = accounts
        self.address = str(free_port())

    def __enter__(self) -> Self:
        """Starts it."""
        try:
            import tigerbeetle as tb
        except ModuleNotFoundError as error:
            raise SystemExit(
                "--tigerbeetle needs TigerBeetle's Python client in the version of the program: "
                "pip install tigerbeetle==<version>"
            ) from error
        command = [str(self._program), "format", "--cluster=0", "--replica=0", "--replica-count=1", str(self._file)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with open_log(self._log) as log:
            self._child = start_child(
                [str(self._program), "start", f"--addresses=127.0.0.1:{self.address}", str(self._file)], log=log
            )
        with tb.ClientSync(cluster_id=0, replica_addresses=self.address) as client:
            limited = tb.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
            accounts = [tb.Account(id=1_000_000_000, ledger=1, code=1)]
            accounts += [tb.Account(id=number + 1, ledger=1, code=1, flags=limited) for number in range(self._accounts)]
            for start in range(0, len(accounts), BATCH):
                client.create_accounts(accounts[start : start + BATCH])
            opening = [
                tb.Transfer(
                    id=number + 1,
                    debit_account_id=1_000_000_000,
                    credit_account_id=number + 1,
                    amount=10**13 if number == 0 else 10**9,
                    ledger=1,
                    code=1,
                )
                for number in range(self._accounts)
            ]
            for start in range(0, len(opening), BATCH):
                client.create_transfers(opening[start : start + BATCH])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it."""
        import signal

        stop_child(self._child, [(signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)])
