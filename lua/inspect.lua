-- inspect: one consistent look at some accounts of a partition, for the reconciler.
--
-- KEYS  1 outbox   then accounts
-- ARGV  none
--
-- Reply: for each account {funds, entry count, holds}. holds is a flat list of stream id, amount, and '1' if the outbox
-- still has the intent, else '0'. A missing field is false.

local outbox = KEYS[1]
local FIXED_KEYS = 1

local reply = {}
for n = FIXED_KEYS + 1, #KEYS do
  local fields = redis.call('HGETALL', KEYS[n])
  local funds, entry_count, holds = false, false, {}
  for f = 1, #fields, 2 do
    local name, value = fields[f], fields[f + 1]
    if name == 'funds' then
      funds = value
    elseif name == 'entry_count' then
      entry_count = value
    elseif is_position(name) then
      local intents = redis.call('XRANGE', outbox, name, name)
      holds[#holds + 1] = name
      holds[#holds + 1] = value
      holds[#holds + 1] = #intents > 0 and '1' or '0'
    end
  end
  reply[n - FIXED_KEYS] = { funds, entry_count, holds }
end
return reply
