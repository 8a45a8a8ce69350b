-- reserve: decide a batch of payments against their guarded accounts, and record every accepted one.
--
-- This one call checks the balance and writes hold, idempotency record and intent, so there is no moment at which money
-- is held and the intent to post it is not recorded. Safe to repeat: a repeat is a replay.
--
-- KEYS  1 outbox   2 awake   3 tally   4 directory
--       then for each of N payments:  idempotency record
--       then for each of A accounts:  account
-- ARGV  1 directory version the caller knows      2 idempotency window, ms
--       3 backlog limit, entries                  4 '1': atomic, all payments or none
--       5 '1': dry run: decide, but write nothing, not even the tally
--       then for each of N payments:
--         account (1..A)   amount to hold, minor units (0 if the balance rises)
--         expected version or ''   fingerprint, then those that earlier versions gave the same content   intent (JSON)
--
-- Reply {'STALE', directory version or ''}: the caller's facts are older than the partition's; nothing was done.
--    or {'FAILED', n, outcome n}: the batch is atomic, and payment n is its first that is neither reserved nor a replay
--       of an accepted one. Nothing was written, not even a refusal, because no payment was decided by itself.
--    or {'DECIDED', wake (1: no drain is at work), outcome 1, ... outcome N}; each a text, the first that applies:
--       'REPLAYED'|record                      the same external_id and content was seen before
--       'REUSED'|record                        the same external_id with other content
--       'COLD'|                                the account must be hydrated first
--       'VERSION_CONFLICT'|funds
--       'INSUFFICIENT_FUNDS'|funds             recorded if the balance would not do even with nothing held; a later
--                                              retry gets the same answer. Otherwise the caller decides: it asks the
--                                              ledger whether open authorizations, which may come free, explain the
--                                              refusal, and if not, records it like this script
--       'BALANCE_OUT_OF_RANGE'|funds
--       'BACKLOGGED'|funds
--       'RESERVED'|stream id|version           the account's version after it; a dry run: '' and the funds after it
--
-- Record: the fingerprint, of fixed length, followed without a separator by
--         A stream id|version                  accepted; a repeat within a call that wrote nothing: like its outcome
--         R funds                              refused for lack of funds
--         X stream id                          rejected by the ledger (settle writes it)
--         D payment id                         already posted under this id (settle writes it)
-- Funds:  of the account, in the form of `funds.lua`
--
-- Two habits here are for speed, and measured. There is no closure and no table per payment: making and collecting them
-- took most of the script's own time. And `text + 0` replaces tonumber, which parses the text twice.

local outbox, awake, tally, directory = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local known_directory, window_ms, backlog_limit = ARGV[1], ARGV[2], ARGV[3] + 0
local is_atomic, is_dry_run = ARGV[4] == '1', ARGV[5] == '1'

local FIXED_KEYS, FIXED_ARGS, ARGS_PER_PAYMENT = 4, 5, 5
local ACCOUNT, HOLD, EXPECTED_VERSION, FINGERPRINTS, INTENT = 1, 2, 3, 4, 5
local FINGERPRINT_LENGTH = 36
local KEYS, ARGV, call = KEYS, ARGV, redis.call -- locals, because Lua looks a global up at each use
local payment_count = (#ARGV - FIXED_ARGS) / ARGS_PER_PAYMENT

-- One command reads the directory and all records. Lua's stack holds 8,000 values; a batch has at most 5,000 payments.
local found = call('MGET', unpack(KEYS, FIXED_KEYS, FIXED_KEYS + payment_count))
local stored_directory = found[1]
if stored_directory ~= known_directory then
  if not stored_directory or tonumber(stored_directory) > tonumber(known_directory) then
    return { 'STALE', stored_directory or '' }
  end
end

-- Decide everything first, then write: Redis does not undo.

local backlog_before = call('XLEN', outbox)
local backlog = backlog_before
local accounts = {} -- by their number among the keys, as far as read; false if cold
local codes, facts = {}, {} -- of each payment: its code, and what the reply adds to it
local decided_here = {} -- record key → the payment of this call that decided it
local earlier = {} -- repeating payment → the payment of this call that it repeats
local first_failure

local at = FIXED_ARGS -- the arguments of payment n start after this one
for n = 1, payment_count do
  local record_key, record, fingerprints = KEYS[FIXED_KEYS + n], found[n + 1], ARGV[at + FINGERPRINTS]
  local number, hold, expected_version = ARGV[at + ACCOUNT], ARGV[at + HOLD] + 0, ARGV[at + EXPECTED_VERSION]
  local first = decided_here[record_key]
  local code, fact

  local account = accounts[number]
  if account == nil and not record then
    local key = KEYS[FIXED_KEYS + payment_count + number]
    local funds = call('HGET', key, 'funds')
    account = false
    if funds then
      local version, balance, held, floor, changed_at = parts_of(funds)
      account = { key = key, version = version, balance = balance, held = held, floor = floor, changed_at = changed_at }
    end
    accounts[number] = account
  end

  if first then
    earlier[n] = first
    local its_fingerprint = string.sub(ARGV[at - ARGS_PER_PAYMENT * (n - first) + FINGERPRINTS], 1, FINGERPRINT_LENGTH)
    code = string.sub(fingerprints, 1, FINGERPRINT_LENGTH) == its_fingerprint and 'REPLAYED' or 'REUSED'
  elseif record then
    code = string.find(fingerprints, string.sub(record, 1, FINGERPRINT_LENGTH), 1, true) and 'REPLAYED' or 'REUSED'
    fact = record
  elseif not account then
    code, fact = 'COLD', ''
  else
    -- Doubles suffice: `left` is exact down to -2^53, and anything that rounds below that is below every floor.
    local held, left = account.held + hold, account.balance - account.held - hold
    local floor = account.floor
    local lowest = floor == '' and -MAX_MINOR or floor + 0
    if expected_version ~= '' and tonumber(expected_version) ~= account.version then
      code = 'VERSION_CONFLICT'
    elseif hold > 0 and left < lowest and floor ~= '' then
      code = 'INSUFFICIENT_FUNDS'
      if account.balance - hold < lowest then
        decided_here[record_key] = n
      end
    elseif hold > 0 and (left < lowest or held > MAX_MINOR) then
      code = 'BALANCE_OUT_OF_RANGE'
    elseif backlog >= backlog_limit then
      code = 'BACKLOGGED'
    else
      code = 'RESERVED'
      decided_here[record_key] = n
      backlog = backlog + 1
      account.held, account.version, account.last = held, account.version + 1, n
    end
    if code ~= 'RESERVED' then
      fact = funds_of(account.version, account.balance, account.held, floor, account.changed_at)
    elseif is_dry_run then
      fact = '|' .. funds_of(account.version, account.balance, held, floor, account.changed_at)
    else
      fact = '|' .. integer(account.version) -- the second pass prepends the stream id
    end
  end

  codes[n], facts[n] = code, fact
  if is_atomic and not first_failure and code ~= 'RESERVED' then
    -- A replay counts as a reservation only if the recorded payment was accepted and not rejected since.
    local state = record and string.sub(record, FINGERPRINT_LENGTH + 1, FINGERPRINT_LENGTH + 1) or 'A'
    if code ~= 'REPLAYED' or state ~= 'A' and state ~= 'D' then
      first_failure = n
    end
  end
  at = at + ARGS_PER_PAYMENT
end

local writes = not is_dry_run and not first_failure
local reply = { 'DECIDED', 0 }
at = FIXED_ARGS
for n = 1, payment_count do
  local record_key = KEYS[FIXED_KEYS + n]
  local code, fact, first = codes[n], facts[n], earlier[n]
  if first then
    local its_fingerprint = string.sub(ARGV[at - ARGS_PER_PAYMENT * (n - first) + FINGERPRINTS], 1, FINGERPRINT_LENGTH)
    fact = its_fingerprint .. (codes[first] == 'RESERVED' and 'A' or 'R') .. facts[first]
  elseif writes and code == 'RESERVED' then
    local account, hold = accounts[ARGV[at + ACCOUNT]], ARGV[at + HOLD]
    local position = call('XADD', outbox, '*', 'intent', ARGV[at + INTENT])
    -- If an account has several payments in this call, the last of them writes its funds.
    local funds = account.last == n
      and funds_of(account.version, account.balance, account.held, account.floor, position)
    if funds and hold ~= '0' then
      call('HSET', account.key, 'funds', funds, position, hold)
    elseif funds then
      call('HSET', account.key, 'funds', funds)
    elseif hold ~= '0' then
      call('HSET', account.key, position, hold)
    end
    fact = position .. fact
    facts[n] = fact
    call('SET', record_key, string.sub(ARGV[at + FINGERPRINTS], 1, FINGERPRINT_LENGTH) .. 'A' .. fact, 'PX', window_ms)
  elseif writes and code == 'INSUFFICIENT_FUNDS' and decided_here[record_key] == n then
    call('SET', record_key, string.sub(ARGV[at + FINGERPRINTS], 1, FINGERPRINT_LENGTH) .. 'R' .. fact, 'PX', window_ms)
  end
  if writes and code ~= 'RESERVED' then
    call('HINCRBY', tally, code, 1) -- the outbox itself counts what was reserved
  end
  reply[n + 2] = code .. '|' .. fact
  at = at + ARGS_PER_PAYMENT
end

if first_failure then
  return { 'FAILED', first_failure, reply[first_failure + 2] }
end
if writes and backlog_before == 0 and backlog > 0 and call('EXISTS', awake) == 0 then
  reply[2] = 1
end
return reply
