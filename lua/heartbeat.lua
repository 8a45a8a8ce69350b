#!lua flags=allow-oom
-- heartbeat: note that a drain is alive and when a round of it last succeeded, and forget drains that have gone.
--
-- It is dated by the server's clock, so readers need not trust the drain's. It takes a few bytes for each drain and must
-- not depend on memory (the flag above): a drain that frees memory must not look like one that has died.
--
-- KEYS  1 drains
-- ARGV  1 name of the process
--       2 how long ago its last round succeeded, ms, or '' if none has
--       3 why its latest round failed, or ''
--       4 silence after which a drain is forgotten, ms
--
-- Reply: the number of drains that are known.

local drains = KEYS[1]
local name, succeeded_before, failure, forgotten_after = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', drains, name, string.format('%.0f|%s|%s', now, succeeded_before, failure))

local known = 0
local heartbeats = redis.call('HGETALL', drains)
for n = 1, #heartbeats, 2 do
  local at = tonumber(string.match(heartbeats[n + 1], '^%d+'))
  if math.abs(now - at) > forgotten_after then
    redis.call('HDEL', drains, heartbeats[n])
  else
    known = known + 1
  end
end
return known
