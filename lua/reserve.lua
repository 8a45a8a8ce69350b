-- reserve: decide a batch of payments against their guarded accounts, and record every accepted one.
--
-- Balance check, hold, idempotency record and outbox entry are written by this one call, so there is no moment
-- at which money is held and the intent to post it is not recorded. Safe to repeat: a repeat is a replay.
--
-- KEYS  1 outbox   2 directory   3 awake   4 tally
--       then for each of A accounts:  account
--       then for each of N payments:  idempotency record
-- ARGV  1 directory version the caller knows      2 idempotency window, ms
--       3 backlog limit, entries                  4 '1': atomic, all payments or none
--       5 '1': dry run, decide and write nothing, not even the tally
--       then for each of N payments:
--         account (1..A)   amount to hold, minor units (0 where the balance rises)
--         expected version or ''   fingerprint   intent (JSON)
--
-- Reply {'STALE', directory version or ''}: the caller's facts are older than the partition's; nothing was done.
--    or {'FAILED', n, outcome n}: the batch is atomic and its nth payment, the first such, is neither reserved nor a
--       replay of an accepted one. Nothing was written, not even a refusal: no payment was decided alone.
--    or {'DECIDED', wake (1: nobody is draining), outcome 1, ... outcome N}, each outcome a text, the first that applies:
--       'REPLAYED'|record                      the same external_id and content was seen before
--       'REUSED'|record                        the same external_id with other content
--       'COLD'|                                the account must be hydrated first
--       'VERSION_CONFLICT'|funds
--       'INSUFFICIENT_FUNDS'|funds             recorded: a later retry gets the same answer
--       'BALANCE_OUT_OF_RANGE'|funds
--       'BACKLOGGED'|funds
--       'RESERVED'|position|funds              position is '' in a dry run
--
-- Record: the fingerprint, of fixed length, and behind it, with nothing between
--         A position|funds                     accepted
--         R funds                              refused for lack of funds
--         X position                           rejected by the ledger (settle writes it)
--         D payment id                         already posted under this id (settle writes it)
-- Funds:  version|balance|held|floor           of the account, after the decision

local outbox, directory, awake, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local known_directory, window_ms, backlog_limit = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local is_atomic, is_dry_run = ARGV[4] == '1', ARGV[5] == '1'

local FIXED_KEYS, FIXED_ARGS, ARGS_PER_PAYMENT = 4, 5, 5
local ACCOUNT, HOLD, EXPECTED_VERSION, FINGERPRINT, INTENT = 1, 2, 3, 4, 5
local payment_count = (#ARGV - FIXED_ARGS) / ARGS_PER_PAYMENT
local account_count = #KEYS - FIXED_KEYS - payment_count

local stored_directory = redis.call('GET', directory)
if not stored_directory or tonumber(stored_directory) > known_directory then
  return { 'STALE', stored_directory or '' }
end

-- Where the arguments of the nth payment begin.
local function at(n)
  return FIXED_ARGS + ARGS_PER_PAYMENT * (n - 1)
end

local function record_key(n)
  return KEYS[FIXED_KEYS + account_count + n]
end

local accounts = {}
local function account_at(index)
  local account = accounts[index]
  if account then
    return account
  end
  local key = KEYS[FIXED_KEYS + index]
  local funds = redis.call('HGET', key, 'funds')
  if funds then
    local version, balance, held, floor = parts_of(funds)
    account = {
      key = key,
      funds = funds,
      version = version,
      balance = balance,
      held = held,
      floor = floor,
      balance_number = tonumber(balance),
      lowest = floor == '' and -MAX_MINOR or tonumber(floor),
    }
  else
    account = { cold = true }
  end
  accounts[index] = account
  return account
end

-- First decide everything, then write everything: Redis does not undo.

local backlog = redis.call('XLEN', outbox)
local backlog_before = backlog
local codes, facts = {}, {} -- of each payment: its code, and what the reply says behind it
local decided_here = {} -- record key → the payment of this call that decided it
local earlier = {} -- of a payment that repeats another of this call: that one

-- Tables of payments would be clearer, but making them was a third of the script's time.
local function decide(n)
  local first = decided_here[record_key(n)]
  if first then
    earlier[n] = first
    return ARGV[at(first) + FINGERPRINT] == ARGV[at(n) + FINGERPRINT] and 'REPLAYED' or 'REUSED', ''
  end
  local record = redis.call('GET', record_key(n))
  if record then
    local fingerprint = ARGV[at(n) + FINGERPRINT]
    return string.sub(record, 1, #fingerprint) == fingerprint and 'REPLAYED' or 'REUSED', record
  end
  local account = account_at(tonumber(ARGV[at(n) + ACCOUNT]))
  if account.cold then
    return 'COLD', ''
  end
  local expected_version, hold = ARGV[at(n) + EXPECTED_VERSION], tonumber(ARGV[at(n) + HOLD])
  if expected_version ~= '' and tonumber(expected_version) ~= account.version then
    return 'VERSION_CONFLICT', account.funds
  end
  if hold > 0 then
    -- Exact: the left side is exact down to -2^53, and what rounds below that is below every floor.
    local after = account.balance_number - account.held - hold
    if account.floor ~= '' and after < account.lowest then
      decided_here[record_key(n)] = n
      return 'INSUFFICIENT_FUNDS', account.funds
    end
    if after < account.lowest or account.held + hold > MAX_MINOR then
      return 'BALANCE_OUT_OF_RANGE', account.funds
    end
  end
  if backlog >= backlog_limit then
    return 'BACKLOGGED', account.funds
  end
  backlog = backlog + 1
  account.held = account.held + hold
  account.version = account.version + 1
  account.funds = funds_of(account.version, account.balance, account.held, account.floor)
  decided_here[record_key(n)] = n
  return 'RESERVED', account.funds
end

for n = 1, payment_count do
  codes[n], facts[n] = decide(n)
end

local function record_of(n)
  return ARGV[at(n) + FINGERPRINT] .. (codes[n] == 'RESERVED' and 'A' or 'R') .. facts[n]
end

local function outcome_of(n)
  return codes[n] .. '|' .. (earlier[n] and record_of(earlier[n]) or facts[n])
end

-- A replay is as good as a reservation only if the recorded payment was accepted, and not rejected since.
local function fails(n)
  if codes[n] == 'REPLAYED' and not earlier[n] then
    local behind_fingerprint = #ARGV[at(n) + FINGERPRINT] + 1
    local state = string.sub(facts[n], behind_fingerprint, behind_fingerprint)
    return state ~= 'A' and state ~= 'D'
  end
  return codes[n] ~= 'RESERVED' and codes[n] ~= 'REPLAYED'
end

local first_failure
if is_atomic then
  for n = payment_count, 1, -1 do
    first_failure = fails(n) and n or first_failure
  end
end

local reply = { 'DECIDED', 0 }
if is_dry_run or first_failure then
  for n = 1, payment_count do
    if codes[n] == 'RESERVED' then
      facts[n] = '|' .. facts[n] -- no position, for nothing is written
    end
    reply[n + 2] = outcome_of(n)
  end
  return first_failure and { 'FAILED', first_failure, outcome_of(first_failure) } or reply
end

for n = 1, payment_count do
  if codes[n] == 'RESERVED' then
    local account, hold, funds = accounts[tonumber(ARGV[at(n) + ACCOUNT])], ARGV[at(n) + HOLD], facts[n]
    local position = redis.call('XADD', outbox, '*', 'intent', ARGV[at(n) + INTENT])
    local accepted_at = string.match(position, '^%d+')
    if hold == '0' then
      redis.call('HSET', account.key, 'funds', funds, 'updated_at', accepted_at)
    else
      redis.call('HSET', account.key, 'funds', funds, 'updated_at', accepted_at, position, hold)
    end
    facts[n] = position .. '|' .. funds
    redis.call('SET', record_key(n), record_of(n), 'PX', window_ms)
  else
    if codes[n] == 'INSUFFICIENT_FUNDS' then
      redis.call('SET', record_key(n), record_of(n), 'PX', window_ms)
    end
    redis.call('HINCRBY', tally, codes[n], 1) -- what was reserved is counted by the outbox itself
  end
  reply[n + 2] = outcome_of(n)
end

if backlog > backlog_before and backlog_before == 0 and redis.call('EXISTS', awake) == 0 then
  reply[2] = 1
end
return reply
