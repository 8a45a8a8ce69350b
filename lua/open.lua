-- open: make a closed partition ready: on first use, and after the cache was found not to be the one it was.
--
-- KEYS  1 outbox   2 directory   3 tally   4 identity
-- ARGV  1 directory version   2 last stream id that is known of this partition, or ''
--       3 the identity with which the partition was closed, or '' if it never was
--
-- The caller has closed the partition before, and has made sure since that nothing old is left in it. If the cache
-- was emptied or replaced meanwhile, the identity differs, and the partition stays closed.
--
-- A payment id contains the stream id of its intent. So new stream ids must be greater than every known one, even if
-- the cache was lost or its clock was set back.
--
-- Reply: the directory version in force, or '' if the partition stays closed.

local outbox, directory, tally, identity = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local directory_version, last_known, closed_as = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local function before(left, right)
  local left_ms, left_sequence = string.match(left, '^(%d+)-(%d+)$')
  local right_ms, right_sequence = string.match(right, '^(%d+)-(%d+)$')
  if left_ms ~= right_ms then
    return tonumber(left_ms) < tonumber(right_ms)
  end
  return tonumber(left_sequence) < tonumber(right_sequence)
end

local stored = redis.call('HMGET', identity, 'identity', 'pushed')
if (stored[1] or '') ~= closed_as then
  return ''
end

if last_known ~= '' then
  local last_given = '0-0'
  if redis.call('EXISTS', outbox) == 1 then
    local info = redis.call('XINFO', 'STREAM', outbox)
    for n = 1, #info, 2 do
      if info[n] == 'last-generated-id' then
        last_given = info[n + 1]
      end
    end
  end
  if before(last_given, last_known) then
    redis.call('XADD', outbox, last_known, 'intent', '')
    redis.call('XDEL', outbox, last_known)
    redis.call('HINCRBY', tally, 'set_behind', 1) -- counts an entry of the outbox that was no payment
  end
end

-- While the partition was closed, a push left its version with the identity.
local in_force = math.max(directory_version, tonumber(stored[2]) or 0, tonumber(redis.call('GET', directory)) or 0)
local text = string.format('%.0f', in_force)
redis.call('SET', directory, text)
return text
