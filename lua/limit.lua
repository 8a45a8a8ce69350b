-- limit: give an account another floor, in one step with the check against what is in use.
--
-- The cache must never be looser than the ledger. So while a change is being written to the ledger, the cache enforces
-- the stricter of the two floors ('check', 'force'); once the ledger has decided, the cache takes its floor ('assign').
-- The directory version in which a floor takes effect guards the order; a repeat changes nothing.
--
-- KEYS  1 account
-- ARGV  1 floor or '' for none   2 directory version
--       3 'check': refuse a floor above balance − held   'force': skip that check   'assign': take the ledger's floor
--
-- Reply {'COLD'}: the account must be hydrated first.
--    or {'BELOW_USE', funds}     the new floor would lie above balance − held; nothing done
--    or {'SUPERSEDED', funds}    a later change was here first; nothing done
--    or {'ASSIGNED', funds}      the funds before this call

local account = KEYS[1]
local floor, directory_version, mode = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local function stricter(left, right)
  if left == '' or right == '' then
    return left == '' and right or left
  end
  return tonumber(left) > tonumber(right) and left or right
end

local cached = redis.call('HMGET', account, 'funds', 'floor_as_of')
local funds, floor_as_of = cached[1], tonumber(cached[2])
if not funds then
  return { 'COLD' }
end
if floor_as_of and floor_as_of > directory_version then
  return { 'SUPERSEDED', funds }
end
local version, balance, held, cached_floor, changed_at = parts_of(funds)
if mode == 'check' and floor ~= '' and tonumber(balance) - held < tonumber(floor) then
  return { 'BELOW_USE', funds }
end

local guarded = mode == 'assign' and floor or stricter(cached_floor, floor)
if guarded ~= cached_floor then
  version = version + 1 -- the available amount changes, so a version read earlier is out of date
end
redis.call('HSET', account, 'funds', funds_of(version, balance, held, guarded, changed_at), 'floor_as_of', ARGV[2])
return { 'ASSIGNED', funds }
