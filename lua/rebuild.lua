-- rebuild: assign an account's state from the ledger, for a repair.
--
-- The caller looks at the account, then reads the ledger, then calls. If the account has changed since that look, what
-- the caller read may be out of date, and nothing is done. Otherwise the ledger, when it was read, had every entry that
-- the cache knew of. So balance, entry count and floor are assigned, even if the cache is ahead of the ledger.
-- Two kinds of hold stay: those whose intent is in the outbox, because the ledger does not know them yet, and those of
-- open authorizations. Nothing explains any other hold, so it goes.
--
-- KEYS  1 outbox   2 account
-- ARGV  1 version and 2 entry count as the caller saw them, both '' for a cold account
--       3 balance   4 entry count   5 version   6 floor or '' for none   7 directory version   8 changed at (ms)
--       9 H, the number of open authorizations
--       then H times stream id, amount held
--       then for each waiting intent whose hold is wrong: stream id, the amount it should hold
--
-- Reply: {'BEHIND'}: look again; or {'REBUILT'}. A cold account stays cold and only gets the holds of its intents.

local outbox, account = KEYS[1], KEYS[2]
local seen_version, seen_entry_count, balance, entry_count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local version, floor, directory_version, changed_at = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local authorization_count = tonumber(ARGV[9])
local FIXED_ARGS = 9

local function waits(position)
  return #redis.call('XRANGE', outbox, position, position) > 0
end

local cached = redis.call('HMGET', account, 'funds', 'entry_count')
local funds, cached_entry_count = cached[1], cached[2]
local cached_version = funds and parts_of(funds)
if (funds and integer(cached_version) or '') ~= seen_version or (funds and cached_entry_count or '') ~= seen_entry_count then
  return { 'BEHIND' }
end

local first_intent = FIXED_ARGS + 2 * authorization_count + 1
for n = first_intent, #ARGV, 2 do
  if waits(ARGV[n]) then
    redis.call('HSET', account, ARGV[n], ARGV[n + 1])
  end
end
if not funds then
  return { 'REBUILT' }
end

local authorized = {}
for n = FIXED_ARGS + 1, first_intent - 1, 2 do
  authorized[ARGV[n]] = true
  redis.call('HSET', account, ARGV[n], ARGV[n + 1])
end
local held = 0
local fields = redis.call('HGETALL', account)
for n = 1, #fields, 2 do
  local name = fields[n]
  if is_position(name) then
    if authorized[name] or waits(name) then
      held = held + tonumber(fields[n + 1])
    else
      redis.call('HDEL', account, name)
    end
  end
end
local next_version = math.max(version, cached_version) + 1 -- so that an expected version shows the change
redis.call(
  'HSET', account, 'funds', funds_of(next_version, balance, held, floor, changed_at), 'entry_count', entry_count,
  'floor_as_of', directory_version
)
return { 'REBUILT' }
