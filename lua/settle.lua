#!lua flags=allow-oom
-- settle: make one partition's cache agree with what the ledger has committed, and trim the outbox.
--
-- State-based: it assigns the balance at an entry number and never adds to it, and it removes a hold by its stream id.
-- So a settlement that runs twice, late or out of order does no harm.
--
-- It runs even if the server is out of memory (the flag above): it is what makes memory free.
--
-- KEYS  1 outbox
--       then for each of A accounts:  account
--       then for each of R records:   idempotency record
-- ARGV  1 stream id up to which the outbox is done, or '' to delete only the listed stream ids
--       2 A   3 R   4 number of listed stream ids D   5 notices for waiters, or ''   6 channel
--       then for each account:  balance, entry count, version, changed at (ms),
--                               number of posted stream ids, number of released ones, then the stream ids in this order
--       then for each record:   its new outcome (what follows the fingerprint)
--       then D stream ids to delete
--
-- A posted intent became an entry of the account. A released hold goes without one: its intent was rejected or a
-- duplicate, or its authorization is concluded.
-- There is no check that an account is cached: a cold one stays cold, and a placeholder notes this settlement.
--
-- Reply: the number of accounts whose balance was assigned.

local outbox = KEYS[1]
local done_up_to, account_count, record_count, delete_count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local notices, channel = ARGV[5], ARGV[6]

local FIXED_KEYS, FIXED_ARGS, ARGS_PER_ACCOUNT = 1, 6, 6
local FINGERPRINT_LENGTH = 36
local UNPACK_LIMIT = 1000 -- Lua's stack holds some thousands of values

-- Remove the holds named in ARGV[first..last] from an account; those after `last_posted` are the released ones. Returns
-- the account's funds and entry count, the amount these holds held, and how many released holds were still there.
local function take_holds(account, first, last_posted, last)
  local funds, entry_count
  local freed, released = 0, 0
  for from = first, math.max(first, last), UNPACK_LIMIT do
    local to = math.min(last, from + UNPACK_LIMIT - 1)
    local fields = redis.call('HMGET', account, 'funds', 'entry_count', unpack(ARGV, from, to))
    funds, entry_count = fields[1], tonumber(fields[2])
    for n = 3, #fields do
      if fields[n] then
        freed = freed + tonumber(fields[n])
        released = released + (from + n - 3 > last_posted and 1 or 0)
      end
    end
    if from <= to then
      redis.call('HDEL', account, unpack(ARGV, from, to))
    end
  end
  return funds, entry_count, freed, released
end

local assigned = 0
local at = FIXED_ARGS
for n = 1, account_count do
  local account = KEYS[FIXED_KEYS + n]
  local balance, entry_count_text, changed_at = ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
  local entry_count, version = tonumber(entry_count_text), tonumber(ARGV[at + 3])
  local posted_count, released_count = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  at = at + ARGS_PER_ACCOUNT

  local last_posted = at + posted_count
  local last = last_posted + released_count
  local funds, cached_entry_count, freed, released = take_holds(account, at + 1, last_posted, last)
  at = last

  local newer = cached_entry_count and entry_count > cached_entry_count
  if funds then
    local cached_version, cached_balance, held, floor, cached_changed_at = parts_of(funds)
    -- The version counts changes of the funds. A posted hold changed them when it was reserved, so it adds nothing now.
    local credits = newer and math.max(0, entry_count - cached_entry_count - posted_count) or 0
    local next_version = math.max(cached_version + released + credits, version)
    if newer then
      local next_funds = funds_of(next_version, balance, held - freed, floor, changed_at)
      redis.call('HSET', account, 'funds', next_funds, 'entry_count', entry_count_text)
      assigned = assigned + 1
    else
      local next_funds = funds_of(next_version, cached_balance, held - freed, floor, cached_changed_at)
      if next_funds ~= funds then
        redis.call('HSET', account, 'funds', next_funds)
      end
    end
  elseif newer or cached_entry_count and version > (tonumber(redis.call('HGET', account, 'settled_version')) or -1) then
    -- A placeholder: a hydration that read the ledger before this settlement must notice that it is out of date.
    redis.call('HSET', account, 'entry_count', entry_count_text, 'settled_version', integer(version))
  end
end

for n = 1, record_count do
  local key = KEYS[FIXED_KEYS + account_count + n]
  local record = redis.call('GET', key)
  if record then
    redis.call('SET', key, string.sub(record, 1, FINGERPRINT_LENGTH) .. ARGV[at + n], 'KEEPTTL')
  end
end
at = at + record_count

for from = at + 1, at + delete_count, UNPACK_LIMIT do
  redis.call('XDEL', outbox, unpack(ARGV, from, math.min(at + delete_count, from + UNPACK_LIMIT - 1)))
end
if done_up_to ~= '' then
  redis.call('XTRIM', outbox, 'MINID', done_up_to)
  redis.call('XDEL', outbox, done_up_to) -- MINID keeps the named entry itself
end

if notices ~= '' then
  redis.call('PUBLISH', channel, notices)
end
return assigned
