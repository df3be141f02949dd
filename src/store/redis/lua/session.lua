-- Reads the header of a session's value, for the step that follows.
--
-- KEYS[1] is the session's key, ARGV[1] the layer's time. Times and versions are 8 bytes, big-endian, and the values of a
-- session are never read: see format.rs.
local key, now = KEYS[1], ARGV[1]

-- Compares halves, since a double does not hold 64 bits.
local function at_most(one, other)
    local high, low = struct.unpack('>I4I4', one)
    local other_high, other_low = struct.unpack('>I4I4', other)
    return high < other_high or (high == other_high and low <= other_low)
end

local function micros(time)
    local high, low = struct.unpack('>I4I4', time)
    return high * 4294967296 + low
end

-- Returns the time until a deadline in milliseconds, for Redis' own expiry. It only cleans up, so an inexact last
-- microsecond is rounded up, and a century is as good as for ever.
local function lifetime(deadline)
    local millis = math.ceil((micros(deadline) - micros(now)) / 1000)
    return string.format('%.0f', math.min(math.max(millis, 1), 3155760000000))
end

-- Every reply carries the end of its key, so that it is never taken for the reply to another call.
local function answer(...)
    return {string.sub(key, -16), ...}
end

-- Not `call`, since a value of another type, which the store did not write, must be no error.
local header = redis.pcall('GETRANGE', key, 0, 34)
local state, version, deadline, seen, kept
if type(header) ~= 'string' or #header < 35 or string.sub(header, 1, 2) ~= 's\2' then
    state = header == '' and 'none' or 'foreign'
else
    version, deadline, seen = string.sub(header, 3, 10), string.sub(header, 11, 18), string.sub(header, 19, 26)
    if at_most(deadline, now) then
        -- A value that was once found expired stays so, even if a clock goes back.
        -- A replica keeps the value, and so does a user who may only read.
        local removed = redis.pcall('DEL', key)
        kept = type(removed) == 'table' and removed.err
        state = 'none'
    elseif version == string.rep('\0', 8) then
        state = 'tombstone'
    else
        state = 'live'
    end
end
