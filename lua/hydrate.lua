-- hydrate: bring one account's state from the ledger into the cache.
--
-- The caller read the ledger before this call, and a settle may have come in between, so each part is guarded: the
-- balance by its entry number, the floor by the directory version at which it was read. Hydrating twice, or with
-- what is already old, changes nothing. The race is closed by a placeholder: before it reads the ledger the caller
-- sets entry_count to -1 where the account is absent, so a settle after that assigns into it instead of passing by.
--
-- Open authorizations come back with the account. They have no entry number, so a cold account takes them only
-- together with a version that no settle has overtaken.
--
-- KEYS  1 account   2 holds
-- ARGV  1 balance   2 entry count   3 version   4 floor or '' for none   5 directory version   6 updated at (ms)
--       then for each open authorization of the account: position, amount held
--
-- Reply: {balance, held, floor, version, entry count, updated at} as cached afterwards,
--     or {'BEHIND'}: a settle came in between; read the ledger again.

local account, holds = KEYS[1], KEYS[2]
local balance, entry_count, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
local floor, directory_version, updated_at = ARGV[4], tonumber(ARGV[5]), ARGV[6]

local function integer(number)
  return string.format('%.0f', number)
end

local cached = redis.call('HMGET', account, 'entry_count', 'floor_as_of', 'held', 'version')
local FIXED_ARGS = 6
local is_cold = not cached[3]
if is_cold and cached[4] and tonumber(cached[4]) > version then
  return { 'BEHIND' }
end
local cached_entry_count, cached_floor_as_of = tonumber(cached[1]), tonumber(cached[2])

if not cached_entry_count or tonumber(entry_count) > cached_entry_count then
  redis.call('HSET', account, 'balance', balance, 'entry_count', entry_count, 'updated_at', updated_at)
end
if not cached_floor_as_of or directory_version >= cached_floor_as_of then
  redis.call('HSET', account, 'floor', floor, 'floor_as_of', integer(directory_version))
end
if is_cold then
  for n = FIXED_ARGS + 1, #ARGV, 2 do
    redis.call('HSETNX', holds, ARGV[n], ARGV[n + 1])
  end
  local held = 0
  for _, hold in ipairs(redis.call('HVALS', holds)) do
    held = held + tonumber(hold)
  end
  redis.call('HSET', account, 'held', integer(held))
end
if not cached[4] or version > tonumber(cached[4]) then
  redis.call('HSET', account, 'version', integer(version))
end
return redis.call('HMGET', account, 'balance', 'held', 'floor', 'version', 'entry_count', 'updated_at')
