"""The TypeScript client: its types are those of the document, it builds, and its README runs on the running system."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.command_line import PROJECT
from app.embedded.child_process import free_port
from tests.patience import COMMAND_S
from tests.system.harness import BANK, System

CLIENT = PROJECT / "clients" / "typescript"

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed here"
)

BEGINNING = """
declare const process: { argv: string[] };
const key = process.argv[3] ?? "";
"""

# What a checkout meets besides: a declined buyer, a lost answer, a server that is not there.
MORE = """
const of = { path: { account_id: "merchant:shop" } };
const shop = told(await client.GET("/v1/accounts/{account_id}/balance", { params: of }));
const declined = {
  external_id: "order-1002",
  source_account_id: "wallet:ada",
  destination_account_id: "merchant:shop",
  amount_minor: 10 ** 9,
  currency_code: "EUR",
};
const kindOf = async (call: Promise<unknown>) => call.then(() => "done", (error: unknown) =>
  error instanceof HoldfastError ? `${error.kind} ${error.code}` : String(error));
let losses = 1;
const losing = holdfast({ baseUrl: `${process.argv[2]}/v1/`, key, fetch: async (request) => {
  const response = await fetch(request);
  if (losses-- > 0) throw new Error("connection reset");
  return response;
} });
const once = { ...declined, external_id: "order-1003", amount_minor: 100 };
const replayed = await losing.POST("/v1/payments", { body: once });
const away = holdfast({ baseUrl: `http://127.0.0.1:${process.argv[4]}`, key, deadlineMs: 300 });
const reset = async () => { throw new Error("reset"); };
const lost = holdfast({ baseUrl: `http://127.0.0.1:${process.argv[4]}`, key, deadlineMs: 300, fetch: reset });
const report = told(await client.GET("/v1/reports/trial-balance"));
console.log(JSON.stringify({
  status: told(await client.GET("/v1/payments/{payment_id}", { params: { path: { payment_id } } })).status,
  available_minor: "available_minor" in shop ? shop.available_minor : null,
  declined: await kindOf(client.POST("/v1/payments", { body: declined }).then(told)),
  replayed: replayed.response.headers.get("idempotent-replayed"),
  away: await kindOf(away.POST("/v1/payments", { body: once })),
  lost: await kindOf(lost.POST("/v1/payments", { body: once })),
  balanced: report.totals.every((total) => total.balanced),
}));
"""

CHECK = {
    "compilerOptions": {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "target": "es2022",
        "lib": ["es2022", "dom", "dom.iterable"],
        "module": "nodenext",
        "types": [],
        "rootDir": ".",
        "outDir": "out",
    },
    "files": ["checkout.ts"],
}


def run(*command: str | Path, cwd: Path) -> str:
    """What a program prints; the test fails with its output if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=COMMAND_S)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, with its packages."""
    directory = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(CLIENT, directory, ignore=shutil.ignore_patterns("node_modules", "dist"))
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=directory, capture_output=True, text=True, timeout=COMMAND_S
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install its packages here: {installed.stderr[-500:]}")
    run("npm", "run", "build", cwd=directory)
    return directory


def test_the_committed_types_are_those_of_the_document(built: Path) -> None:
    tool = built / "node_modules" / ".bin" / "openapi-typescript"
    run(tool, PROJECT / "docs" / "openapi.json", "-o", "made.ts", cwd=built)
    committed = (CLIENT / "src" / "schema.ts").read_text()
    assert committed == (built / "made.ts").read_text(), "run `npm run generate` in clients/typescript"


def test_the_readme_runs_as_it_stands(built: Path, system: System) -> None:
    client = system.client()
    for account_id in ("wallet:ada", "merchant:shop"):
        client.account(account_id, name="Ada" if account_id == "wallet:ada" else None)
    client.fund("wallet:ada", 10_000)
    before = client.balance("merchant:shop")["available_minor"]
    client.close()
    url = f"http://127.0.0.1:{system.port}"
    blocks = re.findall(r"^```ts\n(.*?)^```", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    program = "\n".join([BEGINNING, *blocks, MORE]).replace("http://127.0.0.1:8080", url)
    check = built / "check"
    check.mkdir()
    (check / "checkout.ts").write_text(program.replace("order-10", "typescript-order-10"))
    (check / "tsconfig.json").write_text(json.dumps(CHECK))
    run(built / "node_modules" / ".bin" / "tsc", "--project", "check", cwd=built)
    *accounts, said = run("node", "check/out/checkout.js", url, system.key, str(free_port()), cwd=built).splitlines()
    assert {BANK, "wallet:ada", "merchant:shop"} <= set(accounts)
    assert json.loads(said) == {
        "status": "captured",
        "available_minor": before + 4_000 - 1_500,
        "declined": "refused insufficient_funds",
        "replayed": "true",
        "away": "unavailable no_answer",
        "lost": "outcome_unknown no_answer",
        "balanced": True,
    }
