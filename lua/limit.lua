-- limit: give an account another floor, in one step with the check against what is in use.
--
-- The cache must never be looser than the books. So while a change is being written to them the stricter of both
-- floors is guarded ('check', 'force'), and once it is decided the books' floor is assigned ('assign').
-- Guarded by the directory version in which a floor becomes true; a repeat changes nothing.
--
-- KEYS  1 account
-- ARGV  1 floor or '' for none   2 directory version
--       3 'check': refuse a floor above balance − held   'force': take it all the same   'assign': take it as it is
--
-- Reply {'COLD'}: the account must be hydrated first.
--    or {'BELOW_USE', balance, held, floor, version}     the new floor would lie above balance − held; nothing done
--    or {'SUPERSEDED', balance, held, floor, version}    a later change has been here; nothing done
--    or {'ASSIGNED', balance, held, floor, version}      as they were before

local account = KEYS[1]
local floor, directory_version, mode = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local function stricter(left, right)
  if left == '' or right == '' then
    return left == '' and right or left
  end
  return tonumber(left) > tonumber(right) and left or right
end

local cached = redis.call('HMGET', account, 'balance', 'held', 'floor', 'version', 'floor_as_of')
local balance, held, cached_floor, version, floor_as_of = cached[1], cached[2], cached[3], cached[4], tonumber(cached[5])
if not cached_floor then
  return { 'COLD' }
end
if floor_as_of and floor_as_of > directory_version then
  return { 'SUPERSEDED', balance, held, cached_floor, version }
end
if mode == 'check' and floor ~= '' and tonumber(balance) - tonumber(held) < tonumber(floor) then
  return { 'BELOW_USE', balance, held, cached_floor, version }
end

local guarded = mode == 'assign' and floor or stricter(cached_floor, floor)
redis.call('HSET', account, 'floor', guarded, 'floor_as_of', ARGV[2])
if guarded ~= cached_floor then
  redis.call('HINCRBY', account, 'version', 1) -- what is available has changed, so what was read is out of date
end
return { 'ASSIGNED', balance, held, cached_floor, version }
