// The event feed as an endless list: long polls, each from the cursor of the one before.
import type { Client } from "openapi-fetch";
import { HoldfastError } from "./repeats.js";
import type { components, paths } from "./schema.js";

/** What an event tells: a CloudEvent. `sequence` is its cursor; `data.version` grows with each event of a subject. */
export type HoldfastEvent = components["schemas"]["EventBody"];

export interface Follow {
  /** The `sequence` of the last event that you keep. Without it from now on; "" is from the first event that there is. */
  after?: string | undefined;
  /** Events of these types only. */
  types?: readonly HoldfastEvent["type"][] | undefined;
  /** Events about this account only. */
  accountId?: string | undefined;
  /** How long one poll waits where there is nothing new, and so how soon `signal` is heard; 5 seconds, 30 at most. */
  waitS?: number | undefined;
  /** Ends the list. */
  signal?: AbortSignal | undefined;
}

/**
 * Events for ever, each once and in order. Keep the `sequence` of the last one with what you made of it, and begin after
 * it next time. Lost answers are asked for again until the client's deadline; then it throws a HoldfastError.
 */
export async function* events(
  client: Client<paths, `${string}/${string}`>,
  { after = "end", types, accountId, waitS = 5, signal }: Follow = {},
): AsyncGenerator<HoldfastEvent> {
  const wanted = {
    ...(types === undefined ? {} : { types: types.join(",") }),
    ...(accountId === undefined ? {} : { account_id: accountId }),
  };
  let cursor = after;
  while (!signal?.aborted) {
    const query = { ...wanted, ...(cursor === "" ? {} : { after: cursor }), wait: waitS };
    const page = await client.GET("/v1/events", { params: { query } });
    if (page.data === undefined) throw HoldfastError.of(page.error, page.response);
    for (const event of page.data.data) {
      if (signal?.aborted) return;
      yield event;
    }
    cursor = page.data.next;
  }
}
