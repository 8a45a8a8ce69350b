-- hydrate: bring one account's state from the ledger into the cache.
--
-- The caller reads the ledger before this call, and a settlement may happen in between. So each part has a guard: the
-- balance its entry number, the floor the directory version at which it was read. Hydrating twice, or with old data,
-- changes nothing. A placeholder closes the race: before the caller reads the ledger, it sets entry_count to -1 if the
-- account is absent, and a settlement that finds the placeholder leaves its entry number and version there.
--
-- Open authorizations come back with the account. They have no entry number, so a cold account accepts them only with
-- a version that no settlement has overtaken.
--
-- KEYS  1 account
-- ARGV  1 balance   2 entry count   3 version   4 floor or '' for none   5 directory version   6 changed at (ms)
--       then for each open authorization of the account: stream id, amount held
--
-- Reply: {funds, entry count} as cached afterwards,
--     or {'BEHIND'}: a settlement happened in between; read the ledger again.

local account = KEYS[1]
local balance, entry_count, version = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local floor, directory_version, changed_at = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local FIXED_ARGS = 6

local cached = redis.call('HMGET', account, 'funds', 'entry_count', 'floor_as_of', 'settled_version')
local funds, cached_entry_count, floor_as_of = cached[1], tonumber(cached[2]), tonumber(cached[3])
local settled_version = tonumber(cached[4])

if not funds then
  if settled_version and (settled_version > version or cached_entry_count > entry_count) then
    return { 'BEHIND' }
  end
  for n = FIXED_ARGS + 1, #ARGV, 2 do
    redis.call('HSETNX', account, ARGV[n], ARGV[n + 1])
  end
  local held = 0
  local fields = redis.call('HGETALL', account)
  for n = 1, #fields, 2 do
    if is_position(fields[n]) then
      held = held + tonumber(fields[n + 1])
    end
  end
  redis.call('HDEL', account, 'settled_version')
  redis.call(
    'HSET', account, 'funds', funds_of(version, balance, held, floor, changed_at), 'entry_count', integer(entry_count),
    'floor_as_of', integer(directory_version)
  )
else
  local cached_version, cached_balance, held, cached_floor, cached_changed_at = parts_of(funds)
  if entry_count > cached_entry_count then
    redis.call('HSET', account, 'entry_count', integer(entry_count))
  else
    balance, changed_at = cached_balance, cached_changed_at
  end
  if directory_version >= floor_as_of then
    redis.call('HSET', account, 'floor_as_of', integer(directory_version))
  else
    floor = cached_floor
  end
  redis.call('HSET', account, 'funds', funds_of(math.max(version, cached_version), balance, held, floor, changed_at))
end
return redis.call('HMGET', account, 'funds', 'entry_count')
