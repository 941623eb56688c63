-- For wrk: valid orders, each different and with an Idempotency-Key of its own. BENCH_RUN makes the keys of this run;
-- with BENCH_ORDERS it stops after so many answers. The result is one line of JSON.
local run = os.getenv("BENCH_RUN")
local limit = tonumber(os.getenv("BENCH_ORDERS") or "0")
local threads = {}
local sent = 0
answered, created, accepted = 0, 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function request()
  sent = sent + 1
  local body = string.format(
    '{"customer":{"name":"김하늘 %d","phone":"010-%04d-%04d","email":"sky%d@example.com"},'
      .. '"address":{"postcode":"06236","line1":"서울특별시 강남구 테헤란로 %d","line2":"101동 1203호"},'
      .. '"items":[{"product":"internet-500","quantity":1}]}',
    sent, math.floor(sent / 10000) % 10000, sent % 10000, sent, sent)
  local headers = {["Content-Type"] = "application/json", ["Idempotency-Key"] = run .. "-" .. sent}
  return wrk.format("POST", "/api/orders", headers, body)
end

function response(status)
  answered = answered + 1
  if status == 201 then created = created + 1 elseif status == 202 then accepted = accepted + 1 end
  if limit > 0 and answered >= limit then wrk.thread:stop() end
end

function done(summary, latency)
  local good = 0
  local waiting = 0
  for _, thread in ipairs(threads) do
    good = good + thread:get("created")
    waiting = waiting + thread:get("accepted")
  end
  io.write(string.format(
    '{"answered":%d,"created":%d,"accepted":%d,"broken":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, good, waiting,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
