// A user of the client that openapi-typescript makes: an account, a payment, its balance, the trial balance, a refusal.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [baseUrl, key] = process.argv.slice(2);
const holdfast = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

function told<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(`${answer.error?.code}: ${answer.error?.detail}`);
  return answer.data;
}

for (const body of [
  { account_id: "typescript:bank", type: "asset", currency_code: "EUR" },
  { account_id: "typescript:alice", type: "liability", currency_code: "EUR", metadata: { tier: 1 } },
] as const) {
  told(await holdfast.POST("/v1/accounts", { body }));
}
const made = await holdfast.POST("/v1/payments", {
  params: { header: { Prefer: "wait=30" } },
  body: {
    external_id: "typescript-1",
    source_account_id: "typescript:bank",
    destination_account_id: "typescript:alice",
    amount_minor: 500,
    currency_code: "EUR",
  },
});
const path = { account_id: "typescript:alice" };
const balance = told(await holdfast.GET("/v1/accounts/{account_id}/balance", { params: { path } }));
const report = told(await holdfast.GET("/v1/reports/trial-balance"));
const refused = await holdfast.POST("/v1/payments", {
  body: {
    external_id: "typescript-2",
    source_account_id: "typescript:alice",
    destinations: [{ account_id: "typescript:bank", remainder: true }],
    amount_minor: 501,
    currency_code: "EUR",
  },
});
console.log(
  JSON.stringify({
    status: told(made).status,
    balance_minor: balance.balance_minor,
    balanced: report.totals.every((total) => total.balanced),
    refused: refused.error?.code,
    available_minor: refused.error?.["available_minor"],
  }),
);
