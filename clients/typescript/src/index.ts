// The client of Holdfast: every operation of its OpenAPI document, typed, with repeats that move nothing twice.
import createClient, { type Client } from "openapi-fetch";
import { type Kind, HoldfastError, persistent } from "./repeats.js";
import type { components, paths } from "./schema.js";

export { events, type Follow, type HoldfastEvent } from "./events.js";
export { type GivenHeaders, InvalidWebhook, signWebhook, verifyWebhook } from "./webhooks.js";
export { HoldfastError, type Kind };
export type { components, paths };

export type Problem = components["schemas"]["Problem"];
export type Holdfast = Client<paths, `${string}/${string}`>;

export interface Options {
  /** Where Holdfast is, without `/v1`. */
  baseUrl: string;
  /** The API key. */
  key: string;
  /** How long a call may take with all its repeats; 30 seconds. */
  deadlineMs?: number;
  /** How long one attempt may take; 10 seconds, and what `Prefer: wait` or `wait` asks for besides. */
  attemptMs?: number;
  /** Another fetch than the global one. */
  fetch?: (request: Request) => Promise<Response>;
}

/** A client. Its methods answer `data` or `error`; `told` turns them into a value or an exception. */
export function holdfast(options: Options): Holdfast {
  const { baseUrl, key, deadlineMs = 30_000, attemptMs = 10_000 } = options;
  const carry = options.fetch ?? ((request: Request) => fetch(request));
  return createClient<paths>({
    baseUrl: baseUrl.replace(/\/+$/, "").replace(/\/v1$/, ""),
    headers: { Authorization: `Bearer ${key}` },
    fetch: persistent(carry, { deadlineMs, attemptMs }),
  });
}

/** A new external id: what makes a request that is sent twice count once. */
export function newExternalId(): string {
  return crypto.randomUUID();
}

/** The data of an answer; throws HoldfastError for a problem. */
export function told<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.response.ok && answer.data !== undefined) return answer.data;
  throw HoldfastError.of(answer.error, answer.response);
}

/** Everything of a list, page after page: `pages((after) => client.GET("/v1/accounts", { params: { query: { after } } }))`. */
export async function* pages<T>(
  page: (
    after: string | undefined,
  ) => Promise<{ data?: { data: T[]; next: string | null }; error?: unknown; response: Response }>,
): AsyncGenerator<T> {
  let after: string | undefined;
  do {
    const found = told(await page(after));
    yield* found.data;
    after = found.next ?? undefined;
  } while (after !== undefined);
}
