-- reserve: decide a batch of payments against their guarded accounts, and record every accepted one.
--
-- Balance check, hold, idempotency record and outbox entry are written by this one call, so there is no moment
-- at which money is held and the intent to post it is not recorded. Safe to repeat: a repeat is a replay.
--
-- KEYS  1 outbox   2 directory   3 awake   4 tally
--       then for each of A accounts:  account, holds
--       then for each of N payments:  idempotency record
-- ARGV  1 directory version the caller knows      2 idempotency window, ms
--       3 backlog limit, entries                  4 A
--       5 '1': atomic, all payments or none       6 '1': dry run, decide and write nothing, not even the tally
--       then for each of N payments:
--         account (1..A)   amount to hold, minor units (0 where the balance rises)
--         expected version or ''   fingerprint   intent (JSON)
--
-- Reply {'STALE', directory version or ''}: the caller's facts are older than the partition's; nothing was done.
--    or {'FAILED', n, outcome n}: the batch is atomic and its nth payment, the first such, is neither reserved nor a
--       replay of an accepted one. Nothing was written, not even a refusal: no payment was decided alone.
--    or {'DECIDED', wake (1: nobody is draining), outcome 1, ... outcome N}, each outcome the first that applies of
--       {'REPLAYED', record}                                 the same external_id and content was seen before
--       {'REUSED', record}                                   the same external_id with other content
--       {'COLD'}                                             the account must be hydrated first
--       {'VERSION_CONFLICT', balance, held, floor, version}
--       {'INSUFFICIENT_FUNDS', balance, held, floor, version}      recorded: a later retry gets the same answer
--       {'BALANCE_OUT_OF_RANGE', balance, held, floor, version}
--       {'BACKLOGGED', balance, held, floor, version}
--       {'RESERVED', balance, held, floor, version, position}      position is '' in a dry run
--
-- Record: fingerprint|A|position|version|balance|held|floor        accepted
--         fingerprint|R|balance|held|floor|version                  refused for lack of funds
--         fingerprint|X|position                                    rejected by the ledger (settle writes it)
--         fingerprint|D|payment id                                  already posted under this id (settle writes it)

local outbox, directory, awake, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local known_directory = tonumber(ARGV[1])
local window_ms, backlog_limit, account_count = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local is_atomic, is_dry_run = ARGV[5] == '1', ARGV[6] == '1'

local FIXED_KEYS, FIXED_ARGS, ARGS_PER_PAYMENT = 4, 6, 5
local MAX_MINOR = 9007199254740991 -- 2^53 - 1: doubles are exact up to here

local function integer(number)
  return string.format('%.0f', number) -- tostring would round to 14 digits
end

local stored_directory = redis.call('GET', directory)
if not stored_directory or tonumber(stored_directory) > known_directory then
  return { 'STALE', stored_directory or '' }
end

local accounts = {}
local function account_at(index)
  local account = accounts[index]
  if account then
    return account
  end
  local key = KEYS[FIXED_KEYS + 2 * index - 1]
  local fields = redis.call('HMGET', key, 'balance', 'held', 'floor', 'version')
  account = {
    key = key,
    holds = KEYS[FIXED_KEYS + 2 * index],
    cold = not fields[3],
    balance = fields[1],
    held = tonumber(fields[2]),
    floor = fields[3],
    version = tonumber(fields[4]),
    changed = false,
  }
  if not account.cold then
    account.balance_number = tonumber(account.balance)
    account.lowest = account.floor == '' and -MAX_MINOR or tonumber(account.floor)
  end
  accounts[index] = account
  return account
end

local function state_of(account, code)
  return { code, account.balance, integer(account.held), account.floor, integer(account.version) }
end

-- First decide everything, then write everything: Redis does not undo.

local backlog = redis.call('XLEN', outbox)
local backlog_before = backlog
local decided_here = {}

local function decide(payment)
  local earlier = decided_here[payment.record_key]
  if earlier then
    local same = earlier.fingerprint == payment.fingerprint
    return { same and 'REPLAYED' or 'REUSED' }, earlier
  end
  local record = redis.call('GET', payment.record_key)
  if record then
    local same = string.sub(record, 1, #payment.fingerprint) == payment.fingerprint
    return { same and 'REPLAYED' or 'REUSED', record }
  end
  local account = payment.account
  if account.cold then
    return { 'COLD' }
  end
  if payment.expected_version ~= '' and tonumber(payment.expected_version) ~= account.version then
    return state_of(account, 'VERSION_CONFLICT')
  end
  local hold = payment.hold
  if hold > 0 then
    -- Exact: the left side is exact down to -2^53, and what rounds below that is below every floor.
    local after = account.balance_number - account.held - hold
    if account.floor ~= '' and after < account.lowest then
      decided_here[payment.record_key] = payment
      return state_of(account, 'INSUFFICIENT_FUNDS')
    end
    if after < account.lowest or account.held + hold > MAX_MINOR then
      return state_of(account, 'BALANCE_OUT_OF_RANGE')
    end
  end
  if backlog >= backlog_limit then
    return state_of(account, 'BACKLOGGED')
  end
  backlog = backlog + 1
  account.held = account.held + hold
  account.version = account.version + 1
  account.changed = true
  decided_here[payment.record_key] = payment
  return state_of(account, 'RESERVED')
end

local payments = {}
local payment_count = #KEYS - FIXED_KEYS - 2 * account_count
for n = 1, payment_count do
  local at = FIXED_ARGS + ARGS_PER_PAYMENT * (n - 1)
  local payment = {
    account = account_at(tonumber(ARGV[at + 1])),
    hold_text = ARGV[at + 2],
    hold = tonumber(ARGV[at + 2]),
    expected_version = ARGV[at + 3],
    fingerprint = ARGV[at + 4],
    intent = ARGV[at + 5],
    record_key = KEYS[FIXED_KEYS + 2 * account_count + n],
  }
  payment.outcome, payment.earlier = decide(payment)
  payments[n] = payment
end

local function record_of(payment, position)
  local outcome = payment.outcome
  if outcome[1] == 'RESERVED' then
    return table.concat({ payment.fingerprint, 'A', position, outcome[5], outcome[2], outcome[3], outcome[4] }, '|')
  end
  return table.concat({ payment.fingerprint, 'R', outcome[2], outcome[3], outcome[4], outcome[5] }, '|')
end

-- What a decision answers when nothing is written: no position, and no record but the one it would have left.
local function unwritten(payment)
  if payment.earlier then
    payment.outcome[2] = record_of(payment.earlier, '')
  elseif payment.outcome[1] == 'RESERVED' then
    payment.outcome[6] = ''
  end
  return payment.outcome
end

-- A replay is as good as a reservation only if the recorded payment was accepted, and not rejected since.
local function fails(payment)
  local code = payment.outcome[1]
  if code == 'REPLAYED' and not payment.earlier then
    local state = string.sub(payment.outcome[2], #payment.fingerprint + 2, #payment.fingerprint + 2)
    return state ~= 'A' and state ~= 'D'
  end
  return code ~= 'RESERVED' and code ~= 'REPLAYED'
end

if is_atomic then
  for n, payment in ipairs(payments) do
    if fails(payment) then
      return { 'FAILED', n, unwritten(payment) }
    end
  end
end

if is_dry_run then
  local rehearsal = { 'DECIDED', 0 }
  for n, payment in ipairs(payments) do
    rehearsal[n + 2] = unwritten(payment)
  end
  return rehearsal
end

local reply = { 'DECIDED', 0 }
local counts = {}
for n, payment in ipairs(payments) do
  local outcome, account = payment.outcome, payment.account
  local code = outcome[1]
  if code == 'RESERVED' then
    local position = redis.call('XADD', outbox, '*', 'intent', payment.intent)
    if payment.hold > 0 then
      redis.call('HSET', account.holds, position, payment.hold_text)
    end
    payment.record = record_of(payment, position)
    redis.call('SET', payment.record_key, payment.record, 'PX', window_ms)
    outcome[6] = position
    account.position = position
  elseif code == 'INSUFFICIENT_FUNDS' then
    payment.record = record_of(payment)
    redis.call('SET', payment.record_key, payment.record, 'PX', window_ms)
  elseif payment.earlier then
    outcome[2] = payment.earlier.record
  end
  counts[code] = (counts[code] or 0) + 1
  reply[n + 2] = outcome
end

for _, account in pairs(accounts) do
  if account.changed then
    redis.call(
      'HSET', account.key, 'held', integer(account.held), 'version', integer(account.version),
      'updated_at', string.match(account.position, '^%d+')
    )
  end
end
for code, count in pairs(counts) do
  redis.call('HINCRBY', tally, code, count)
end

if backlog > backlog_before and backlog_before == 0 and redis.call('EXISTS', awake) == 0 then
  reply[2] = 1
end
return reply
