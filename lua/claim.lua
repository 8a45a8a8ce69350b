-- claim: note which partition an external_id belongs to, so that its reuse with another guarded account shows.
--
-- Only a directory: exactly-once does not rest on it but on the idempotency record and on the ledger's unique key.
--
-- KEYS  one claim for each of N external ids, all of one partition
-- ARGV  1 idempotency window, ms   then N partitions in which the payments are about to be reserved
--
-- Reply: for each external id, the partition that claimed it first (its own, where the claim is new).

local window_ms = ARGV[1]
local reply = {}
for n, claim in ipairs(KEYS) do
  local partition = ARGV[n + 1]
  reply[n] = redis.call('SET', claim, partition, 'NX', 'GET', 'PX', window_ms) or partition
end
return reply
