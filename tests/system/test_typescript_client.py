"""The TypeScript client: its types are those of the document, it builds, and its README runs on the running system."""

import json
import re
import shutil
import subprocess
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

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
const saved: string[] = [];
async function save(...event: string[]): Promise<void> {
  saved.push(event.join(" "));
}
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
const stop = new AbortController();
const following = keepUp("", stop.signal);
while (saved.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
stop.abort();
await following;
const secret = `whsec_${"A".repeat(32)}`;
const forged = await receive(new Request("http://shop.test", { method: "POST", body: "{}" }), secret);
const event = { id: "evt_7_1", type: "payment.posted", sequence: "7.1.0", data: {} };
const signed = await send(JSON.stringify(event), secret);
const report = told(await client.GET("/v1/reports/trial-balance"));
console.log(JSON.stringify({
  status: told(await client.GET("/v1/payments/{payment_id}", { params: { path: { payment_id } } })).status,
  available_minor: "available_minor" in shop ? shop.available_minor : null,
  declined: await kindOf(client.POST("/v1/payments", { body: declined }).then(told)),
  replayed: replayed.response.headers.get("idempotent-replayed"),
  away: await kindOf(away.POST("/v1/payments", { body: once })),
  lost: await kindOf(lost.POST("/v1/payments", { body: once })),
  followed: saved.every((one) => /^evt_\\S+ payment\\.(posted|captured|refunded) \\d/.test(one)),
  forged: forged.status,
  signed: `${signed.status} ${saved.at(-1)}`,
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


def run(*command: str | Path, cwd: Path, said: str = "") -> str:
    """What a program prints that is told something; the test fails with its output if it fails."""
    done = subprocess.run(command, cwd=cwd, input=said, capture_output=True, text=True, timeout=COMMAND_S)
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
        "away": "unavailable not_reached",
        "lost": "outcome_unknown no_answer",
        "followed": True,
        "forged": 400,
        "signed": "204 evt_7_1 payment.posted 7.1.0",
        "balanced": True,
    }


# Events and webhooks, without a server

SECRET = "whsec_" + b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + b64encode(bytes(24)).decode()
NOW = datetime(2026, 11, 20, 16, 31, tzinfo=UTC)

VERIFY = """
import { readFileSync } from "node:fs";
import { InvalidWebhook, verifyWebhook } from "./dist/webhooks.js";
const said = [];
for (const { body, headers, secrets, now_s, is_fetch } of JSON.parse(readFileSync(0, "utf8"))) {
  const given = is_fetch ? new Headers(headers) : headers;
  await verifyWebhook(body, given, secrets, { nowMs: now_s * 1000 }).then(
    (event) => said.push(event.id),
    (error) => said.push(`${error instanceof InvalidWebhook ? "invalid" : error.name}: ${error.message}`),
  );
}
console.log(JSON.stringify(said));
"""


def event(number: int) -> dict[str, Any]:
    """An event as it is sent."""
    return {
        "specversion": "1.0",
        "id": f"evt_{number}",
        "source": "/holdfast/ledger",
        "type": "payment.posted",
        "subject": "pay_1",
        "time": "2026-11-20T16:31:10.160Z",
        "datacontenttype": "application/json",
        "sequence": f"{number}.0.0",
        "data": {"version": 1, "description": "Grüße"},
    }


def message(*secrets: str, sent_at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """A webhook as Holdfast sends it, signed with these secrets, and what the receiver has; but for `changes`."""
    body = json.dumps(event(1), ensure_ascii=False)
    signatures = " ".join(Webhook(secret).sign("evt_1", sent_at, body) for secret in secrets)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": signatures,
    }
    return {"body": body, "headers": headers, "secrets": SECRET, "now_s": NOW.timestamp(), **changes}


def headers_of(one: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The headers of a message, but for changes."""
    return {**one["headers"], **{f"webhook-{name}": value for name, value in changes.items()}}


def test_a_webhook_is_believed_only_with_a_signature_that_fits(built: Path) -> None:
    good = message(SECRET)
    in_capitals = {name.title(): value for name, value in good["headers"].items()}
    cases = [
        (good, "evt_1"),
        ({**good, "is_fetch": True}, "evt_1"),
        ({**good, "headers": in_capitals}, "evt_1"),
        ({**good, "headers": headers_of(good, signature=["v1,AAAA", good["headers"]["webhook-signature"]])}, "evt_1"),
        (message(OTHER, SECRET), "evt_1"),
        (message(OTHER, secrets=[SECRET, OTHER]), "evt_1"),
        (message(OTHER), "invalid: no signature fits"),
        ({**good, "body": good["body"].replace("pay_1", "pay_2")}, "invalid: no signature fits"),
        ({**good, "headers": headers_of(good, id="evt_2")}, "invalid: no signature fits"),
        ({**good, "headers": headers_of(good, signature="v1,%%% v1, v2,AAAA")}, "invalid: no signature fits"),
        ({**good, "now_s": NOW.timestamp() + 299}, "evt_1"),
        ({**good, "now_s": NOW.timestamp() + 301}, "invalid: it was sent 301 seconds ago"),
        ({**good, "now_s": NOW.timestamp() - 301}, "invalid: it was sent -301 seconds ago"),
        ({**good, "headers": headers_of(good, timestamp="soon")}, "invalid: the headers webhook-id,"),
        ({**good, "headers": {}}, "invalid: the headers webhook-id,"),
        ({**good, "secrets": "whsec_%"}, "TypeError: a webhook's secret is whsec_ and the base64 of 24 to 64 bytes"),
        ({**good, "secrets": "whsec_AAAA"}, "TypeError: a webhook's secret is whsec_ and the base64 of 24 to 64 bytes"),
        *(({**good, "secrets": one}, "TypeError: the webhook's secret is empty") for one in ("", ["", SECRET], [None])),
        ({**good, "secrets": []}, "TypeError: no secret is given"),
    ]
    empty = Webhook(SECRET).sign("evt_1", NOW, "[]")
    cases.append(({**good, "body": "[]", "headers": headers_of(good, signature=empty)}, "invalid: it tells no event"))
    (built / "verify.mjs").write_text(VERIFY)
    told = json.loads(run("node", "verify.mjs", cwd=built, said=json.dumps([one for one, _ in cases])))
    assert len(told) == len(cases)
    for (one, wanted), answer in zip(cases, told, strict=True):
        assert answer.startswith(wanted), one


SIGN = """
import { readFileSync } from "node:fs";
import { signWebhook, verifyWebhook } from "./dist/index.js";
const { body, secret, message_id, now_s } = JSON.parse(readFileSync(0, "utf8"));
const nowMs = now_s * 1000 + 999;
const headers = await signWebhook(body, secret, { messageId: message_id, nowMs });
const bytes = await signWebhook(new TextEncoder().encode(body), secret, { messageId: message_id, nowMs });
const { id } = await verifyWebhook(body, await signWebhook(body, secret), secret);
const unset = await signWebhook(body, "").catch((error) => `${error.name}: ${error.message}`);
console.log(JSON.stringify({ headers, bytes, id, unset }));
"""


def test_a_test_of_a_receiver_signs_as_holdfast_does(built: Path) -> None:
    good = message(SECRET)
    (built / "sign.mjs").write_text(SIGN)
    asked = {"body": good["body"], "secret": SECRET, "message_id": "evt_1", "now_s": NOW.timestamp()}
    made = json.loads(run("node", "sign.mjs", cwd=built, said=json.dumps(asked)))
    assert made["headers"] == made["bytes"] == good["headers"]
    assert made["id"] == "evt_1", "now, where no time is given"
    assert made["unset"].startswith("TypeError: the webhook's secret is empty")


FOLLOW = """
import { events, holdfast, HoldfastError } from "./dist/index.js";
const script = JSON.parse(process.argv[2]);
const asked = [];
const stop = new AbortController();
const client = holdfast({ baseUrl: "http://holdfast.test", key: "k", deadlineMs: 2000, fetch: async (request) => {
  asked.push(new URL(request.url).search);
  const next = script.shift();
  if (next === undefined) { stop.abort(); throw new Error("nothing more"); }
  if (next === "lost") throw new Error("connection reset");
  const body = next.status === undefined ? next : next.problem;
  return Response.json(body, { status: next.status ?? 200 });
} });
const met = [];
let failed = null;
try {
  const wanted = { after: "7", types: ["payment.posted"], accountId: "a", signal: stop.signal };
  for await (const event of events(client, wanted)) {
    met.push(event.id);
    if (met.length === 4) stop.abort();
  }
} catch (error) {
  failed = error instanceof HoldfastError ? error.code : String(error);
}
console.log(JSON.stringify({ asked, met, failed }));
"""


def page(*numbers: int, after: int) -> dict[str, Any]:
    """A page of events."""
    return {"data": [event(one) for one in numbers], "next": f"{after}.0.0", "is_end": True}


def followed(built: Path, *script: Any) -> dict[str, Any]:
    """What a program met that follows events while the server answers by a script."""
    (built / "follow.mjs").write_text(FOLLOW)
    found: dict[str, Any] = json.loads(run("node", "follow.mjs", json.dumps(script), cwd=built))
    return found


AWAY = """
import { holdfast } from "./dist/index.js";
const client = holdfast({ baseUrl: `http://127.0.0.1:${process.argv[2]}`, key: "k", deadlineMs: 300 });
const { kind, code, detail, cause } = await client.GET("/v1/accounts").catch((error) => error);
console.log(JSON.stringify({ kind, code, detail, cause: cause?.cause?.code }));
"""


def test_a_server_that_was_not_reached_is_told_from_a_lost_answer_with_the_cause(built: Path) -> None:
    (built / "away.mjs").write_text(AWAY)
    found = json.loads(run("node", "away.mjs", str(free_port()), cwd=built))
    assert (found["kind"], found["code"], found["cause"]) == ("unavailable", "not_reached", "ECONNREFUSED")
    assert "ECONNREFUSED" in found["detail"]


def test_events_are_followed_from_cursor_to_cursor_over_lost_answers(built: Path) -> None:
    found = followed(built, page(8, 9, after=9), "lost", page(after=12), page(13, 14, after=14))
    assert (found["met"], found["failed"]) == (["evt_8", "evt_9", "evt_13", "evt_14"], None)
    of = "?types=payment.posted&account_id=a&after={}&wait=5"
    assert found["asked"] == [of.format(one) for one in ("7", "9.0.0", "9.0.0", "12.0.0")]


def test_a_cursor_of_another_ledger_ends_the_list_with_its_code(built: Path) -> None:
    problem = {"code": "invalid_cursor", "status": 400, "detail": "It is ahead.", "retryable": False}
    found = followed(built, {"status": 400, "problem": problem})
    assert (found["met"], found["failed"]) == ([], "invalid_cursor")
