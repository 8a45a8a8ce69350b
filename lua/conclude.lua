-- conclude: end an authorization, once: capture it, void it, or let it expire.
--
-- The first conclusion removes the authorization's hold, so exactly one wins. A capture puts the captured part back as
-- the hold of its own intent, until the ledger has posted it; the rest is free at once. Safe to repeat: a repeat is
-- answered with what was concluded.
--
-- KEYS  1 outbox   2 directory   3 awake   4 tally   5 account   6 conclusion
-- ARGV  1 directory version the caller knows      2 window in which a repeat is answered, ms
--       3 backlog limit, entries                  4 stream id of the authorization
--       5 amount still held until the capture is posted, minor units (0 to free all)
--       6 when: 'before' the expiry or 'after' it    7 expiry, ms since 1970
--       8 what is concluded, e.g. captured|500    9 intent (JSON)
--       10 whether the authorization holds nothing, because the balance rises (1, else 0)
--
-- Reply  {'STALE', directory version or ''}
--     or {'CONCLUDED_BEFORE', conclusion}: argument 8 of the first call, then '|' and the stream id of its intent
--     or {'COLD'}                     the account must be hydrated first
--     or {'GONE'}                     there is no such hold: the ledger knows why
--     or {'EXPIRED', now} or {'NOT_DUE', now}
--     or {'BACKLOGGED'}
--     or {'CONCLUDED', wake (1: no drain is at work), stream id, version}

local outbox, directory, awake, tally, account, conclusion = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local known_directory, window_ms, backlog_limit = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local position, still_held_text, rule, expires_at = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local outcome, intent, holds_nothing = ARGV[8], ARGV[9], ARGV[10] == '1'
local still_held = tonumber(still_held_text)

local stored_directory = redis.call('GET', directory)
if not stored_directory or tonumber(stored_directory) > known_directory then
  return { 'STALE', stored_directory or '' }
end
local earlier = redis.call('GET', conclusion)
if earlier then
  return { 'CONCLUDED_BEFORE', earlier }
end
local cached = redis.call('HMGET', account, 'funds', position)
local funds, held_here = cached[1], cached[2]
if not funds then
  return { 'COLD' }
end
if not held_here then
  if not holds_nothing then
    return { 'GONE' }
  end
  held_here = '0'
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if rule == 'before' and now >= expires_at then
  return { 'EXPIRED', integer(now) }
end
if rule == 'after' and now < expires_at then
  return { 'NOT_DUE', integer(now) }
end
local backlog = redis.call('XLEN', outbox)
if backlog >= backlog_limit and not string.match(outcome, '|0$') then
  return { 'BACKLOGGED' } -- a conclusion that captures nothing only frees funds, so it passes
end

local new_position = redis.call('XADD', outbox, '*', 'intent', intent)
redis.call('HDEL', account, position)
local version, balance, held, floor = parts_of(funds)
held = held - tonumber(held_here) + still_held
version = version + 1
redis.call('HSET', account, 'funds', funds_of(version, balance, held, floor, new_position))
if still_held > 0 then
  redis.call('HSET', account, new_position, still_held_text)
end
redis.call('SET', conclusion, outcome .. '|' .. new_position, 'PX', window_ms)
redis.call('HINCRBY', tally, 'concluded', 1)
local wake = 0
if backlog == 0 and redis.call('EXISTS', awake) == 0 then
  wake = 1
end
return { 'CONCLUDED', wake, new_position, integer(version) }
