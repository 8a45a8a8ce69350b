-- witness: which of some waiting intents lack their holds, for the reconciler.
--
-- An intent that is held as it should be costs one look-up: it need not be in the outbox any more. Only where the hold
-- differs the outbox is asked whether the intent still stands, or settled meanwhile.
--
-- KEYS  1 outbox   then each intent's guarded account
-- ARGV  for each intent its position and the amount that it holds, minor units
--
-- Reply: a flat list of the number of an intent, from 1, and the amount held in place of its own.

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
