-- Closed-loop saturation by wrk: payments (or balance reads) after the table of movements in a file.
--
-- Arguments: file of movements, run, file for acknowledgements, path, headers file, kind (payment or balance)
--
-- Each answer is noted as "<number> <status> <milliseconds> <flag>" (flag P: the payment was posted already), for the
-- auditor and for the plot of throughput over time.

local ffi = require("ffi")
ffi.cdef([[ typedef struct { long seconds; long nanoseconds; } bench_time; int clock_gettime(int, bench_time *); ]])
local clock = ffi.new("bench_time")

local threads = {}
function setup(thread)
  thread:set("worker", #threads)
  threads[#threads + 1] = thread
end

local movements, count = {}, 0
local number = -1
local run, path, kind, acknowledgements, stride

function init(arguments)
  run, path, kind, stride = arguments[2], arguments[4], arguments[6], tonumber(arguments[7])
  for line in io.lines(arguments[1]) do
    local source, destination, amount = line:match("(%S+) (%S+) (%S+)")
    count = count + 1
    movements[count] = { source, destination, amount }
  end
  for line in io.lines(arguments[5]) do
    local name, value = line:match("^(.-): (.*)$")
    wrk.headers[name] = value
  end
  acknowledgements = io.open(arguments[3] .. "." .. worker, "w")
  acknowledgements:setvbuf("full", 1048576)
end

function request()
  number = number + 1
  local movement = movements[(worker * stride + number) % count + 1]
  if kind == "balance" then
    return wrk.format("GET", (path:gsub("{account_id}", movement[1])))
  end
  local body = string.format(
    '{"external_id": "%s-%02d-%08d", "source_account_id": "%s", "destination_account_id": "%s", "amount_minor": %s, "currency_code": "EUR"}',
    run, worker, number, movement[1], movement[2], movement[3]
  )
  return wrk.format("POST", path, nil, body)
end

function response(status, _, body)
  ffi.C.clock_gettime(1, clock)
  local acknowledged = kind == "payment" and body:match('"external_id": ?"[^"]-%-(%d%d%d%d%d%d%d%d)"') or "-"
  local posted = body:find('"status":"posted"', 1, true) and "P" or "-"
  local milliseconds = tonumber(clock.seconds) * 1000 + math.floor(tonumber(clock.nanoseconds) / 1000000)
  acknowledgements:write(acknowledged, " ", status, " ", milliseconds, " ", posted, "\n")
end

function done(summary, latency)
  local counts = {}
  for n = 1, #latency do
    local value, times = latency(n)
    counts[n] = string.format("[%d,%d]", tonumber(value), tonumber(times))
  end
  local errors = summary.errors
  io.write(string.format(
    '\nBENCH {"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"latency":[%s]}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.timeout, errors.status,
    table.concat(counts, ",")
  ))
end
