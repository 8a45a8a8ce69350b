-- inspect: one consistent look at some accounts of a partition, for the reconciler.
--
-- KEYS  1 outbox   then for each of A accounts: account, holds
-- ARGV  none
--
-- Reply: for each account {balance, held, entry count, floor, version, holds}, where holds is a flat list of position,
-- amount, '1' if the outbox still has the intent, else '0'. Missing fields come as false.

local outbox = KEYS[1]
local FIXED_KEYS = 1

local reply = {}
for n = 1, (#KEYS - FIXED_KEYS) / 2 do
  local account, holds = KEYS[FIXED_KEYS + 2 * n - 1], KEYS[FIXED_KEYS + 2 * n]
  local seen = redis.call('HMGET', account, 'balance', 'held', 'entry_count', 'floor', 'version')
  local flat = redis.call('HGETALL', holds)
  local witnessed = {}
  for h = 1, #flat, 2 do
    local position = flat[h]
    local intents = redis.call('XRANGE', outbox, position, position)
    witnessed[#witnessed + 1] = position
    witnessed[#witnessed + 1] = flat[h + 1]
    witnessed[#witnessed + 1] = #intents > 0 and '1' or '0'
  end
  seen[6] = witnessed
  reply[n] = seen
end
return reply
