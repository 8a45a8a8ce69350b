-- open: make a partition ready: on first use, after the loss of the cache, and when the directory has changed.
--
-- KEYS  1 outbox   2 directory   3 tally
-- ARGV  1 directory version   2 last stream id that the ledger has posted in this partition, or ''
--
-- A payment id contains the stream id of its intent. So new stream ids must be greater than every posted one, even if
-- the cache was lost or its clock was set back.
--
-- Reply: the directory version in force.

local outbox, directory, tally = KEYS[1], KEYS[2], KEYS[3]
local directory_version, last_posted = tonumber(ARGV[1]), ARGV[2]

local function before(left, right)
  local left_ms, left_sequence = string.match(left, '^(%d+)-(%d+)$')
  local right_ms, right_sequence = string.match(right, '^(%d+)-(%d+)$')
  if left_ms ~= right_ms then
    return tonumber(left_ms) < tonumber(right_ms)
  end
  return tonumber(left_sequence) < tonumber(right_sequence)
end

if last_posted ~= '' then
  local last_given = '0-0'
  if redis.call('EXISTS', outbox) == 1 then
    local info = redis.call('XINFO', 'STREAM', outbox)
    for n = 1, #info, 2 do
      if info[n] == 'last-generated-id' then
        last_given = info[n + 1]
      end
    end
  end
  if before(last_given, last_posted) then
    redis.call('XADD', outbox, last_posted, 'intent', '')
    redis.call('XDEL', outbox, last_posted)
    redis.call('HINCRBY', tally, 'set_behind', 1) -- counts an entry of the outbox that was no payment
  end
end

local stored = tonumber(redis.call('GET', directory))
if not stored or stored < directory_version then
  redis.call('SET', directory, ARGV[1])
  return directory_version
end
return stored
