-- funds: how an account's funds are kept, in one field: version|balance|held|floor, the last '' where there is none.
--
-- Not a script: app/funds/scripts.py puts it in front of those about funds. The same text stands in the account, in
-- the idempotency record and in the reply, so a payment reads one field and composes its new state once.

local MAX_MINOR = 9007199254740991 -- 2^53 - 1: doubles are exact up to here

local function integer(number)
  return string.format('%.0f', number) -- tostring would round to 14 digits
end

-- Balance and floor stay text: they are assigned as they came and never computed.
local function funds_of(version, balance, held, floor)
  return string.format('%.0f|%s|%.0f|%s', version, balance, held, floor)
end

local function parts_of(funds)
  local version, balance, held, floor = string.match(funds, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)$')
  return tonumber(version), balance, tonumber(held), floor
end

-- Beside its funds an account has fields of fixed names, and its holds, named by their position in the outbox.
local function is_position(field)
  return string.find(field, '^%d') ~= nil
end
