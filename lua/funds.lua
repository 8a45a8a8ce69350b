-- funds: how an account's funds are kept, in one field: version|balance|held|floor|changed at.
--
-- The floor is '' if the account has none. The last part is a time in ms since 1970, or the stream id of the change,
-- which starts with such a time.
--
-- Not a script: app/cache/keys.py prepends it to the scripts that handle funds. The account, the record of a refusal
-- and the reply all use this text, so a payment reads one field and writes one.

local MAX_MINOR = 9007199254740991 -- 2^53 - 1: doubles are exact up to here

local function integer(number)
  return string.format('%.0f', number) -- tostring would round to 14 digits
end

-- Balance and floor stay text: no script computes them, they are stored as they arrived.
local function funds_of(version, balance, held, floor, changed_at)
  return string.format('%.0f|%s|%.0f|%s|%s', version, balance, held, floor, changed_at)
end

local function parts_of(funds)
  local version, balance, held, floor, changed_at = string.match(funds, '^(%d+)|(-?%d+)|(%d+)|(-?%d*)|(.*)$')
  return tonumber(version), balance, tonumber(held), floor, changed_at
end

-- Besides its funds, an account's hash has a few fields with fixed names, and its holds, named by their stream ids.
local function is_position(field)
  return string.find(field, '^%d') ~= nil
end
