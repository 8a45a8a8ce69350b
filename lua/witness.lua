-- witness: for some intents of a partition's outbox, whether their holds stand, for the reconciler.
--
-- KEYS  1 outbox   then the holds of each intent's guarded account
-- ARGV  for each intent its position
--
-- Reply: for each intent 'gone' when the outbox no longer has it (it settled meanwhile), else the amount held or ''.

local outbox = KEYS[1]
local FIXED_KEYS = 1

local reply = {}
for n, position in ipairs(ARGV) do
  if #redis.call('XRANGE', outbox, position, position) == 0 then
    reply[n] = 'gone'
  else
    reply[n] = redis.call('HGET', KEYS[FIXED_KEYS + n], position) or ''
  end
end
return reply
