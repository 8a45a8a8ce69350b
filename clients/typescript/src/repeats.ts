// A fetch that asks again, with the same request, as long as that may help and the deadline has not passed.

/**
 * What an error says of the request. `refused`: it was decided, nothing was moved. `unavailable`: nothing was done, try
 * later. `outcome_unknown`: it may have been done; only a repeat with the same external id tells.
 */
export type Kind = "refused" | "unavailable" | "outcome_unknown";

interface Figures {
  [name: string]: unknown;
}

const MAY_BE_DONE = new Set(["outcome_unknown", "internal_error", "ledger_unavailable"]);
const NEEDS_THE_CALLER = new Set(["insufficient_funds", "optimistic_lock_conflict", "linked_payment_failed"]);
/** Statuses of a payment that the ledger has a moment later; an authorized one waits for its caller. */
const COMES_BY_ITSELF = new Set<unknown>(["pending", "captured"]);
const SAY_NOTHING_OF_BEFORE = new Set([401, 403, 408, 429]);
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

/** A request that did not succeed: `code` is the stable word for why, `figures` explain it. */
export class HoldfastError extends Error {
  constructor(
    readonly kind: Kind,
    readonly code: string,
    readonly detail: string,
    readonly status: number | undefined,
    readonly retryable: boolean,
    readonly figures: Figures = {},
    readonly requestId: string | null = null,
    cause?: unknown,
  ) {
    super(`${code}: ${detail}`, cause === undefined ? undefined : { cause });
    this.name = "HoldfastError";
  }

  /** The error that a problem document tells of. */
  static of(problem: unknown, response: Response): HoldfastError {
    const status = response.status;
    const told = typeof problem === "object" && problem !== null ? (problem as Figures) : {};
    const code = typeof told["code"] === "string" ? told["code"] : status >= 500 ? "no_answer" : "unexpected_answer";
    const detail = typeof told["detail"] === "string" ? told["detail"] : `The answer was ${status}, without a problem.`;
    const retryable = typeof told["retryable"] === "boolean" ? told["retryable"] : status >= 500;
    return new HoldfastError(kindOf(code, status), code, detail, status, retryable, told, response.headers.get("x-request-id"));
  }

  /** The same, of a request that an earlier attempt may have carried out. */
  unknown(): HoldfastError {
    return new HoldfastError(
      "outcome_unknown",
      this.code,
      this.detail,
      this.status,
      this.retryable,
      this.figures,
      this.requestId,
      this.cause,
    );
  }
}

function kindOf(code: string, status: number): Kind {
  if (MAY_BE_DONE.has(code) || (status >= 500 && status !== 503) || code === "no_answer") return "outcome_unknown";
  return status === 408 || status === 429 || status === 503 ? "unavailable" : "refused";
}

/** Wrap a fetch. What it throws in the end is a HoldfastError; a problem is returned as the answer it came in. */
export function persistent(
  carry: (request: Request) => Promise<Response>,
  { deadlineMs, attemptMs }: { deadlineMs: number; attemptMs: number },
): (request: Request) => Promise<Response> {
  return async (request) => {
    const endsAt = Date.now() + deadlineMs;
    const repeatable = await countsOnce(request);
    const changes = request.method !== "GET";
    let earlierMayBeDone = false;
    for (let attempt = 1; ; attempt += 1) {
      const [response, error] = await tried(carry, request, Math.max(1, endsAt - Date.now()), attemptMs);
      if (error === undefined) return response;
      const pauseMs = Math.max(
        retryAfterMs(response),
        Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * Math.random(),
      );
      const mayRepeat =
        error.retryable &&
        !NEEDS_THE_CALLER.has(error.code) &&
        (error.code !== "payment_not_posted" || COMES_BY_ITSELF.has(error.figures["payment_status"] ?? "pending")) &&
        (repeatable || error.kind !== "outcome_unknown");
      if (!mayRepeat || Date.now() + pauseMs >= endsAt) {
        const isSilent = error.kind === "unavailable" || SAY_NOTHING_OF_BEFORE.has(error.status ?? 0);
        if (changes && earlierMayBeDone && isSilent) throw error.unknown();
        if (response === undefined) throw error;
        return response;
      }
      earlierMayBeDone ||= error.kind === "outcome_unknown";
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
}

type Tried = [Response, undefined] | [Response | undefined, HoldfastError];

/** One attempt: the answer, and what is wrong with it. Its body stays unread. */
async function tried(
  carry: (request: Request) => Promise<Response>,
  request: Request,
  leftMs: number,
  attemptMs: number,
): Promise<Tried> {
  const asked = /\bwait=(\d+)/.exec(request.headers.get("prefer") ?? "")?.[1];
  const waitS = Number(asked ?? new URL(request.url).searchParams.get("wait") ?? 0);
  const signal = AbortSignal.timeout(Math.min(leftMs, attemptMs + Math.min(waitS, 30) * 1_000));
  let response: Response;
  try {
    response = await carry(new Request(request.clone(), { signal }));
  } catch (reason) {
    return [undefined, withoutAnswer(reason, request.method)];
  }
  if (response.ok || response.status === 304) return [response, undefined];
  const problem: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  return [response, HoldfastError.of(problem, response)];
}

/** Why no answer came. `not_reached`: nothing was sent; `no_answer`: it may have arrived. `cause` is what fetch threw. */
function withoutAnswer(reason: unknown, method: string): HoldfastError {
  const isNotSent = wasNotSent(reason);
  const kind = isNotSent || method === "GET" ? "unavailable" : "outcome_unknown";
  const cause = causeOf(reason);
  const why = cause?.message || cause?.code;
  const detail = why ? `${String(reason)}: ${String(why)}` : String(reason);
  return new HoldfastError(kind, isNotSent ? "not_reached" : "no_answer", detail, undefined, true, {}, null, reason);
}

/** What the runtime says below the error of fetch. */
function causeOf(reason: unknown): { code?: unknown; message?: unknown } | undefined {
  return reason instanceof Error ? (reason.cause as { code?: unknown; message?: unknown } | undefined) : undefined;
}

/** Whether nothing listened, so that nothing can have been done. */
function wasNotSent(reason: unknown): boolean {
  return ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"].includes(String(causeOf(reason)?.code));
}

/** Whether a request that is sent twice counts once: it changes nothing, or says what shall be, or has an external id. */
async function countsOnce(request: Request): Promise<boolean> {
  if (request.method !== "POST") return true;
  const path = new URL(request.url).pathname;
  if (/\/(capture|void)$/.test(path) || ["/v1/accounts", "/v1/assets", "/v1/statement-sources"].includes(path)) return true;
  return /"external_id"\s*:/.test(await request.clone().text());
}

function retryAfterMs(response: Response | undefined): number {
  const text = response?.headers.get("retry-after") ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now());
}
