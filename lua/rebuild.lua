-- rebuild: assign an account anew from the ledger, as a repair does.
--
-- The caller looks at the account, then reads the ledger, then calls. If the account has changed since that look, the
-- ledger may be behind it and nothing is done. Otherwise all that the cache had heard of was in the ledger when it was
-- read, so balance, entry count and floor are assigned, whatever stands here, even if that is ahead of the ledger.
-- Of the holds stay those whose intent is in the outbox, because the ledger does not know them yet, and those of open
-- authorizations; what else is held, nothing explains.
--
-- KEYS  1 outbox   2 account
-- ARGV  1 version and 2 entry count as the caller saw them, both '' for a cold account
--       3 balance   4 entry count   5 version   6 floor or '' for none   7 directory version   8 changed at (ms)
--       9 H, the number of open authorizations
--       then H times position, amount held
--       then for each waiting intent whose hold is wrong: position, amount that it holds
--
-- Reply: {'BEHIND'}: look again; or {'REBUILT'}. A cold account stays cold and gets its intents' holds only.

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
local next_version = math.max(version, cached_version) + 1 -- who waits for a version must see that the funds changed
redis.call(
  'HSET', account, 'funds', funds_of(next_version, balance, held, floor, changed_at), 'entry_count', entry_count,
  'floor_as_of', directory_version
)
return { 'REBUILT' }
