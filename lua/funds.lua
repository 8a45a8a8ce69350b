-- funds: how an account's funds are kept, in one field: version|balance|held|floor|changed at.
--
-- The floor is '' where there is none. The last part is a time in ms since 1970, or the position of the change, which
-- begins with one.
--
-- Not a script: app/cache/keys.py puts it in front of those about funds. The same text stands in the account, in
-- the record of a refusal and in the reply, so a payment reads one field and writes one.

local MAX_MINOR = 9007199254740991 -- 2^53 - 1: doubles are exact up to here

local function integer(number)
  return string.format('%.0f', number) -- tostring would round to 14 digits
end

-- Balance and floor stay text: they are assigned as they came and never computed.
local function funds_of(version, balance, held, floor, changed_at)
  return string.format('%.0f|%s|%.0f|%s|%s', version, balance, held, floor, changed_at)
end

local function parts_of(funds)
  local version, balance, held, floor, changed_at = string.match(funds, '^(%d+)|(-?%d+)|(%d+)|(-?%d*)|(.*)$')
  return tonumber(version), balance, tonumber(held), floor, changed_at
end

-- Beside its funds an account has fields of fixed names, and its holds, named by their position in the outbox.
local function is_position(field)
  return string.find(field, '^%d') ~= nil
end
