-- settle: make one partition's cache agree with what the ledger has committed, and trim the outbox.
--
-- State-based: a balance is assigned at its entry number, never added to, and a hold is removed by its position,
-- so doing this twice, late or out of order is harmless.
--
-- KEYS  1 outbox
--       then for each of A accounts:  account, holds
--       then for each of R records:   idempotency record
-- ARGV  1 position up to which the outbox is done, or '' to delete the listed positions only
--       2 A   3 R   4 number of listed positions D   5 notice for waiters, or ''   6 channel
--       then for each account:  balance, entry count, version, updated at (ms),
--                               number of posted positions, number of released positions, the positions in this order
--       then for each record:   its new outcome (the part behind the fingerprint)
--       then D positions to delete
--
-- A posted position became an entry; a released one was rejected, voided or a duplicate.
-- No check that an account is cached: a cold one stays cold, a placeholder takes the assignment.
--
-- Reply: the number of accounts whose balance was assigned.

local outbox = KEYS[1]
local done_up_to, account_count, record_count, delete_count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local notice, channel = ARGV[5], ARGV[6]

local FIXED_KEYS, FIXED_ARGS, ARGS_PER_ACCOUNT = 1, 6, 6
local FINGERPRINT_LENGTH = 36
local UNPACK_LIMIT = 1000 -- Lua's stack holds some thousands of values

local function integer(number)
  return string.format('%.0f', number)
end

-- Remove the holds whose positions stand in ARGV[first..last]; those already gone count nothing.
local function free(holds, first, last)
  local amount, found = 0, 0
  for from = first, last, UNPACK_LIMIT do
    local to = math.min(last, from + UNPACK_LIMIT - 1)
    for _, hold in ipairs(redis.call('HMGET', holds, unpack(ARGV, from, to))) do
      if hold then
        amount = amount + tonumber(hold)
        found = found + 1
      end
    end
    redis.call('HDEL', holds, unpack(ARGV, from, to))
  end
  return amount, found
end

local assigned = 0
local at = FIXED_ARGS
for n = 1, account_count do
  local account, holds = KEYS[FIXED_KEYS + 2 * n - 1], KEYS[FIXED_KEYS + 2 * n]
  local balance = ARGV[at + 1] -- never through a number: it is only assigned
  local entry_count, version, updated_at = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4]
  local posted_count, released_count = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  at = at + ARGS_PER_ACCOUNT

  local freed = free(holds, at + 1, at + posted_count)
  local freed_released, released_here = free(holds, at + posted_count + 1, at + posted_count + released_count)
  freed = freed + freed_released
  at = at + posted_count + released_count

  local cached = redis.call('HMGET', account, 'entry_count', 'held', 'version')
  local cached_entry_count, held, cached_version = tonumber(cached[1]), tonumber(cached[2]), tonumber(cached[3])
  if cached_entry_count then
    local newer = entry_count > cached_entry_count
    if newer then
      redis.call('HSET', account, 'balance', balance, 'entry_count', integer(entry_count), 'updated_at', updated_at)
      assigned = assigned + 1
    end
    if held and freed > 0 then
      redis.call('HSET', account, 'held', integer(held - freed))
    end
    if not cached_version then
      -- A placeholder: a hydration that read the ledger before this settle must see that it is behind.
      redis.call('HSET', account, 'version', integer(version))
    else
      -- The version counts what changes the funds: a posted hold changed them when it was reserved.
      local bump = released_here
      if newer then
        bump = bump + math.max(0, entry_count - cached_entry_count - posted_count)
      end
      local next_version = math.max(cached_version + bump, version)
      if next_version > cached_version then
        redis.call('HSET', account, 'version', integer(next_version))
      end
    end
  end
end

for n = 1, record_count do
  local key = KEYS[FIXED_KEYS + 2 * account_count + n]
  local record = redis.call('GET', key)
  if record then
    redis.call('SET', key, string.sub(record, 1, FINGERPRINT_LENGTH) .. '|' .. ARGV[at + n], 'KEEPTTL')
  end
end
at = at + record_count

for n = 1, delete_count do
  redis.call('XDEL', outbox, ARGV[at + n])
end
if done_up_to ~= '' then
  redis.call('XTRIM', outbox, 'MINID', done_up_to)
  redis.call('XDEL', outbox, done_up_to) -- MINID keeps the named entry itself
end

if notice ~= '' then
  redis.call('PUBLISH', channel, notice)
end
return assigned
