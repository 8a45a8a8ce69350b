-- forget: make accounts of a closed partition cold, so that they come back from the ledger.
--
-- A hold whose intent is still in the outbox stays, because the ledger does not know it yet. Every other hold goes; those
-- of open authorizations come back with the account. An account that is cold already may be being hydrated, so what
-- guards that stays. The same guard is left for a warm one: a hydration that read the ledger before the last settlement
-- must notice it. An entry count of another history guards nothing, and would keep the account cold for ever.
--
-- KEYS  1 outbox   2 directory   then accounts
-- ARGV  1 whether the entry counts are of the ledger's own history (1, else 0)
--
-- Reply: the number of accounts that were forgotten; -1 if the partition is open, and nothing was done.

local outbox, directory = KEYS[1], KEYS[2]
local counts_are_known = ARGV[1] == '1'
local FIXED_KEYS = 2

if redis.call('EXISTS', directory) == 1 then
  return -1
end

local forgotten = 0
for n = FIXED_KEYS + 1, #KEYS do
  local account = KEYS[n]
  for _, name in ipairs(redis.call('HKEYS', account)) do
    if is_position(name) and #redis.call('XRANGE', outbox, name, name) == 0 then
      redis.call('HDEL', account, name)
    end
  end
  if redis.call('HEXISTS', account, 'funds') == 1 then
    redis.call('HDEL', account, 'funds', 'floor_as_of')
    if counts_are_known then
      redis.call('HSET', account, 'settled_version', '0')
    else
      redis.call('HDEL', account, 'entry_count')
    end
    forgotten = forgotten + 1
  end
end
return forgotten
