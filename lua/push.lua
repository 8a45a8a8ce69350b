-- push: raise the directory version that callers of a partition must know.
--
-- A closed partition stays closed. It keeps the version, so that no opening can bring an older one back.
--
-- KEYS  1 directory   2 identity
-- ARGV  1 directory version
--
-- Reply: the directory version in force, or '' if the partition is closed.

local directory, identity = KEYS[1], KEYS[2]
local directory_version = tonumber(ARGV[1])

if directory_version > (tonumber(redis.call('HGET', identity, 'pushed')) or 0) then
  redis.call('HSET', identity, 'pushed', ARGV[1])
end
local stored = redis.call('GET', directory)
if not stored then
  return ''
end
if tonumber(stored) < directory_version then
  redis.call('SET', directory, ARGV[1])
  return ARGV[1]
end
return stored
