// Whether a webhook comes from Holdfast, as Standard Webhooks says, and what it tells. It needs Web Crypto and no package.
import type { HoldfastEvent } from "./events.js";

/** How old a message may be, so that one that was overheard cannot be sent again later; and how much clocks differ. */
export const TOLERANCE_S = 300;

/** How long a key is, as Standard Webhooks says. An empty one would let anybody sign. */
const KEY_BYTES = { least: 24, most: 64 };

const ALGORITHM = { name: "HMAC", hash: "SHA-256" };

/** A message that is not to be believed: answer 400. */
export class InvalidWebhook extends Error {
  override readonly name = "InvalidWebhook";
}

/** Headers as `fetch` has them, or as Node has them. */
export type GivenHeaders = Headers | { readonly [name: string]: string | readonly string[] | undefined };

/**
 * The event of a webhook; throws InvalidWebhook. `body` exactly as it came, before anything parses it.
 *
 * Several secrets are those of a rotation: one must fit. An event may come twice: pass over an `id` that you have had.
 * A secret that is not set, or is none, is a TypeError: nothing could be believed.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: GivenHeaders,
  secrets: string | readonly string[],
  { toleranceS = TOLERANCE_S, nowMs = Date.now() }: { toleranceS?: number; nowMs?: number } = {},
): Promise<HoldfastEvent> {
  const keys = keysOf(secrets);
  const [id, sentAt, signatures] = ["id", "timestamp", "signature"].map((name) => header(headers, `webhook-${name}`));
  if (!id || !signatures || !sentAt || !/^\d+$/.test(sentAt)) {
    throw new InvalidWebhook("the headers webhook-id, webhook-timestamp and webhook-signature are needed");
  }
  const ageS = nowMs / 1_000 - Number(sentAt);
  if (Math.abs(ageS) > toleranceS) throw new InvalidWebhook(`it was sent ${Math.round(ageS)} seconds ago`);
  const content = contentOf(body);
  if (!(await anyFits(signatures, keys, signedContent(id, sentAt, content)))) {
    throw new InvalidWebhook("no signature fits");
  }
  return eventIn(content);
}

/** The headers that Holdfast would send with a body: for tests of a receiver. A secret that is none is a TypeError. */
export async function signWebhook(
  body: string | Uint8Array,
  secret: string,
  { messageId = "evt_1", nowMs = Date.now() }: { messageId?: string; nowMs?: number } = {},
): Promise<{ "webhook-id": string; "webhook-timestamp": string; "webhook-signature": string }> {
  const sentAt = String(Math.floor(nowMs / 1_000));
  const [raw] = keysOf(secret) as [Uint8Array<ArrayBuffer>];
  const key = await crypto.subtle.importKey("raw", raw, ALGORITHM, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, signedContent(messageId, sentAt, contentOf(body)));
  const text = btoa(String.fromCharCode(...new Uint8Array(signature)));
  return { "webhook-id": messageId, "webhook-timestamp": sentAt, "webhook-signature": `v1,${text}` };
}

/** The keys of secrets. From an environment a secret may be missing, whatever its type says. */
function keysOf(secrets: string | readonly (string | undefined)[] | undefined): Uint8Array<ArrayBuffer>[] {
  const given = typeof secrets === "string" || secrets === undefined ? [secrets] : secrets;
  if (given.length === 0) throw new TypeError("no secret is given");
  return given.map((secret) => {
    if (!secret) throw new TypeError("the webhook's secret is empty: is its environment variable set?");
    const raw = bytesOf(secret.replace(/^whsec_/, ""));
    if (raw === undefined || raw.length < KEY_BYTES.least || raw.length > KEY_BYTES.most) {
      throw new TypeError("a webhook's secret is whsec_ and the base64 of 24 to 64 bytes");
    }
    return raw;
  });
}

/** Whether one of the signatures is made with one of the keys. `verify` compares in constant time. */
async function anyFits(
  signatures: string,
  keys: readonly Uint8Array<ArrayBuffer>[],
  signed: BufferSource,
): Promise<boolean> {
  const given = signatures.split(" ").filter((one) => one.startsWith("v1,"));
  let fits = false;
  for (const raw of keys) {
    const key = await crypto.subtle.importKey("raw", raw, ALGORITHM, false, ["verify"]);
    for (const one of given) {
      const signature = bytesOf(one.slice("v1,".length));
      if (signature !== undefined && (await crypto.subtle.verify("HMAC", key, signature, signed))) fits = true;
    }
  }
  return fits;
}

function eventIn(content: Uint8Array): HoldfastEvent {
  let told: unknown;
  try {
    told = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
  } catch (error) {
    throw new InvalidWebhook(`it tells no event: ${String(error)}`);
  }
  const event = told as Partial<HoldfastEvent> | null;
  if (typeof event?.id !== "string" || typeof event.type !== "string" || typeof event.data !== "object") {
    throw new InvalidWebhook("it tells no event");
  }
  return event as HoldfastEvent;
}

function header(headers: GivenHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const found = Object.entries(headers).find(([one]) => one.toLowerCase() === name)?.[1];
  return typeof found === "string" || found === undefined ? found : found.join(" ");
}

/** Base64 as bytes; undefined for anything else. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function contentOf(body: string | Uint8Array): Uint8Array {
  return typeof body === "string" ? new TextEncoder().encode(body) : body;
}

/** What is signed of a message. */
function signedContent(id: string, sentAt: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  return joined(new TextEncoder().encode(`${id}.${sentAt}.`), content);
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
