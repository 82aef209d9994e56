-- wrk's script for `make bench`. What comes after `--` on wrk's command line, as name=value:
--
--   tokens=FILE offset=N    a token for each request: line N of the file, the next, … and around
--   proofs=FILE offset=N    the same with DPoP proofs, for the token that stands in Authorization
--   forge=FILE offset=N     a token that nobody has seen and nobody signed; FILE holds what stands
--                           before and after 16 characters that encode a number: N, N + 1, …
--   body=TEXT               POST this
--   count=N                 stop after so many answers, instead of after wrk's time
--
-- Without any, every request is the same and no Lua runs. The result is one line of JSON.

local function read(path)
   local lines = {}
   for line in io.lines(path) do
      lines[#lines + 1] = line
   end
   return lines
end

-- Three decimal digits as four characters of base64url, for each number below 1000.
local function triples()
   local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
   local encoded = {}
   for number = 0, 999 do
      local a, b, c = string.format("%03d", number):byte(1, 3)
      local bits, characters = a * 65536 + b * 256 + c, ""
      for _ = 1, 4 do
         local index = bits % 64
         characters = alphabet:sub(index + 1, index + 1) .. characters
         bits = (bits - index) / 64
      end
      encoded[number] = characters
   end
   return encoded
end

-- The bytes of a request before and after what is in this header, behind these words.
local function frame(header, words)
   wrk.headers[header] = words .. "@"
   local head, tail = wrk.format("GET"):match("^(.*" .. header .. ": " .. words .. ")@(.*)$")
   return head, tail
end

local function cycle(tokens, offset, header, words)
   local head, tail = frame(header, words)
   local at = offset % #tokens
   return function()
      at = at % #tokens + 1
      return head .. tokens[at] .. tail
   end
end

local function forge(parts, number)
   local head, tail = frame("Authorization", "Bearer ")
   head, tail = head .. parts[1], parts[2] .. tail
   local triple, floor = triples(), math.floor
   return function()
      number = number + 1
      local n = number
      local d = n % 1000; n = floor(n / 1000)
      local c = n % 1000; n = floor(n / 1000)
      local b = n % 1000
      return head .. triple[floor(n / 1000)] .. triple[b] .. triple[c] .. triple[d] .. tail
   end
end

local function stop_after(count)
   local answers, good = 0, 0
   return function(status)
      answers = answers + 1
      if status == 200 then good = good + 1 end
      if answers == count then
         print(string.format('{"requests": %d, "bad": %d}', answers, answers - good))
         io.flush()
         os.exit(0)
      end
   end
end

function init(args)
   local given = {}
   for _, argument in ipairs(args) do
      local name, value = argument:match("^(%w+)=(.*)$")
      given[name or argument] = value
   end
   local offset = tonumber(given.offset or 0)
   if given.body then
      wrk.method, wrk.body = "POST", given.body
   end
   if given.tokens then request = cycle(read(given.tokens), offset, "Authorization", "Bearer ") end
   if given.proofs then request = cycle(read(given.proofs), offset, "DPoP", "") end
   if given.forge then request = forge(read(given.forge), offset) end
   if given.count then response = stop_after(tonumber(given.count)) end
end

function done(summary, latency)
   local errors = summary.errors
   local broken = errors.connect + errors.read + errors.write + errors.timeout
   print(string.format(
      '{"requests": %d, "microseconds": %d, "bad": %d, "broken": %d, "p50": %d, "p99": %d}',
      summary.requests, summary.duration, errors.status, broken,
      latency:percentile(50), latency:percentile(99)))
end
