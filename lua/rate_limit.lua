-- rate_limit: take one request from what an API key may make, or refuse it.
--
-- A GCRA: the value is the time at which the key has its whole burst again. Each request moves it on by one interval, and
-- it may lie at most one burst ahead of now. The server's clock counts, so all processes of the API share one limit.
--
-- KEYS  1 rate
-- ARGV  1 time in which one request comes free again, µs   2 burst, requests
--
-- Reply {'TAKEN' or 'LIMITED', time at which the whole burst is free again, now}, times in µs since 1970.

local rate = KEYS[1]
local interval, burst = ARGV[1] + 0, ARGV[2] + 0

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local longest = burst * interval

-- Further ahead than one burst it can only be after the clock was set back, or after the limit was another.
local full_at = math.min(tonumber(redis.call('GET', rate) or now), now + longest)
local next_full_at = math.max(full_at, now) + interval
if next_full_at - longest > now then
  return { 'LIMITED', full_at, now }
end
redis.call('SET', rate, string.format('%.0f', next_full_at), 'PX', math.ceil((next_full_at - now) / 1000) + 1)
return { 'TAKEN', next_full_at, now }
