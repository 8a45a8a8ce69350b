-- witness: which of some waiting intents lack their holds, for the reconciler.
--
-- An intent whose hold is right costs one look-up, whether or not it is still in the outbox. Only if the hold differs,
-- the script looks into the outbox: the intent may have been settled in the meantime.
--
-- KEYS  1 outbox   then each intent's guarded account
-- ARGV  for each intent its stream id and the amount that it should hold, minor units
--
-- Reply: a flat list: the number of an intent, from 1, then the amount that is held instead.

local outbox = KEYS[1]
local FIXED_KEYS = 1

local reply = {}
for n = 1, #KEYS - FIXED_KEYS do
  local position, intended = ARGV[2 * n - 1], ARGV[2 * n]
  local held = redis.call('HGET', KEYS[FIXED_KEYS + n], position) or '0'
  if held ~= intended and #redis.call('XRANGE', outbox, position, position) > 0 then
    reply[#reply + 1] = n
    reply[#reply + 1] = held
  end
end
return reply
