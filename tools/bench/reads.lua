-- For wrk: orders read as their subscribers read them. BENCH_READS is a file of lines with an address and its token.
local reads = {}
local at = 0
local threads = {}
good = 0

function setup(thread)
  table.insert(threads, thread)
end

function init()
  for line in io.lines(os.getenv("BENCH_READS")) do
    local path, token = line:match("(%S+) (%S+)")
    table.insert(reads, wrk.format("GET", path, {["Authorization"] = "Bearer " .. token}))
  end
end

function request()
  at = at % #reads + 1
  return reads[at]
end

function response(status)
  if status == 200 then good = good + 1 end
end

function done(summary, latency)
  local right = 0
  for _, thread in ipairs(threads) do right = right + thread:get("good") end
  io.write(string.format(
    '{"answered":%d,"created":%d,"accepted":0,"broken":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, right,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
