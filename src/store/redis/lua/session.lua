-- What stands under the key of a session, before the step that the script is for.
--
-- KEYS[1] is the session's key, ARGV[1] the layer's time. Times, versions and lengths are 8 bytes, big-endian, and the
-- values of a session are never looked into: see format.rs.
local key, now = KEYS[1], ARGV[1]

-- A double holds no 64 bits, so halves are compared.
local function at_most(one, other)
    local high, low = struct.unpack('>I4I4', one)
    local other_high, other_low = struct.unpack('>I4I4', other)
    return high < other_high or (high == other_high and low <= other_low)
end

local function micros(time)
    local high, low = struct.unpack('>I4I4', time)
    return high * 4294967296 + low
end

-- How long Redis is to keep what ends then, in milliseconds. It only cleans up, so an inexact last microsecond is
-- rounded up, and a century is as good as for ever.
local function lifetime(deadline)
    local millis = math.ceil((micros(deadline) - micros(now)) / 1000)
    return string.format('%.0f', math.min(math.max(millis, 1), 3155760000000))
end

-- Every answer carries the end of its key, so that nobody takes another's.
local function answer(...)
    return {string.sub(key, -16), ...}
end

-- Not `call`: under a key of another type stands somebody else's value.
local header = redis.pcall('GETRANGE', key, 0, 63)
local state, version, deadline, seen
if type(header) ~= 'string' or #header < 64 or string.sub(header, 1, 8) ~= 'session\1' then
    state = header == '' and 'none' or 'foreign'
else
    version, deadline, seen = string.sub(header, 9, 16), string.sub(header, 17, 24), string.sub(header, 25, 32)
    if at_most(deadline, now) then
        -- What was once found expired stays so, even if a clock goes back.
        redis.call('DEL', key)
        state = 'none'
    elseif version == string.rep('\0', 8) then
        state = 'tombstone'
    else
        state = 'live'
    end
end
