-- hydrate: bring one account's state from the ledger into the cache.
--
-- The caller read the ledger before this call, and a settle may have come in between, so each part is guarded: the
-- balance by its entry number, the floor by the directory version at which it was read. Hydrating twice, or with
-- what is already old, changes nothing. The race is closed by a placeholder: before it reads the ledger the caller
-- sets entry_count to -1 where the account is absent, so a settle after that leaves there what it knows instead of
-- passing by.
--
-- Open authorizations come back with the account. They have no entry number, so a cold account takes them only
-- together with a version that no settle has overtaken.
--
-- KEYS  1 account
-- ARGV  1 balance   2 entry count   3 version   4 floor or '' for none   5 directory version   6 changed at (ms)
--       then for each open authorization of the account: position, amount held
--
-- Reply: {funds, entry count} as cached afterwards,
--     or {'BEHIND'}: a settle came in between; read the ledger again.

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
