-- hydrate: bring one account's state from the ledger into the cache.
--
-- The caller read the ledger before this call, and a settle may have come in between, so each part is guarded: the
-- balance by its entry number, the floor by the directory version at which it was read. Hydrating twice, or with
-- what is already old, changes nothing. The race is closed by a placeholder: before it reads the ledger the caller
-- sets entry_count to -1 where the account is absent, so a settle after that assigns into it instead of passing by.
--
-- KEYS  1 account   2 holds
-- ARGV  1 balance   2 entry count   3 version   4 floor or '' for none   5 directory version   6 updated at (ms)
--
-- Reply: {balance, held, floor, version, entry count, updated at} as cached afterwards.

local account, holds = KEYS[1], KEYS[2]
local balance, entry_count, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
local floor, directory_version, updated_at = ARGV[4], tonumber(ARGV[5]), ARGV[6]

local function integer(number)
  return string.format('%.0f', number)
end

local cached = redis.call('HMGET', account, 'entry_count', 'floor_as_of', 'held', 'version')
local cached_entry_count, cached_floor_as_of = tonumber(cached[1]), tonumber(cached[2])

if not cached_entry_count or tonumber(entry_count) > cached_entry_count then
  redis.call('HSET', account, 'balance', balance, 'entry_count', entry_count, 'updated_at', updated_at)
end
if not cached_floor_as_of or directory_version >= cached_floor_as_of then
  redis.call('HSET', account, 'floor', floor, 'floor_as_of', integer(directory_version))
end
if not cached[3] then
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
